package media

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtp/codecs"

	"github.com/penstock-media/penstock/media/internal/picture"
)

// feedVideo decodes units and checks what must hold whatever they are.
func feedVideo(t testing.TB, d videoDecoder, maxPixels int, units ...[]byte) (pictures, faults int) {
	t.Helper()
	for _, u := range units {
		ps, err := d.Decode(nil, u, 1)
		if err != nil {
			faults++
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("a bad unit must be ErrCorrupt: %v", err)
			}
		}
		for _, p := range ps {
			pictures++
			if w, h := p.Size(); w*h > maxPixels {
				t.Fatalf("%d×%d is beyond the limit of %d pixels", w, h, maxPixels)
			}
			touch(t, p)
			p.Release()
		}
	}
	return pictures, faults
}

// touch reads every byte that an image says it has.
func touch(t testing.TB, p picture.Picture) {
	t.Helper()
	im, err := p.Download()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i, plane := range im.Planes {
		row, rows := im.PlaneSize(i)
		if len(plane) < im.Strides[i]*(rows-1)+row {
			t.Fatalf("plane %d has %d bytes", i, len(plane))
		}
		for _, b := range plane {
			sum += int(b)
		}
	}
	if sum < 0 {
		t.Fatal("unreachable")
	}
}

func damage(rnd *rand.Rand, unit []byte) []byte {
	bad := append([]byte(nil), unit...)
	for range 1 + rnd.IntN(8) {
		bad[rnd.IntN(len(bad))] ^= byte(1 << rnd.IntN(8))
	}
	return bad[:1+rnd.IntN(len(bad))]
}

func TestF12_DamagedVideoIsSurvived(t *testing.T) {
	for _, clip := range videoClips() {
		t.Run(clip.name, func(t *testing.T) {
			checkMemory(t)
			units := clipUnits(t, clip.name+clip.ext)
			d := openVideo(t, clip.codec)
			rnd := rand.New(rand.NewPCG(1, 2))
			faults := 0
			for range 20 {
				for _, u := range units {
					_, n := feedVideo(t, d, testMaxPixels, damage(rnd, u))
					faults += n
				}
			}
			if faults == 0 {
				t.Error("no fault was counted")
			}
			// The next key frame is decoded as if nothing had been.
			ps, err := d.Decode(nil, units[0], 2)
			if err != nil || len(ps) == 0 {
				t.Fatalf("after damage: %d pictures, %v", len(ps), err)
			}
			for _, p := range ps {
				p.Release()
			}
		})
	}
}

func TestF12_NothingIsUnitToo(t *testing.T) {
	checkMemory(t)
	for _, e := range codecTable() {
		if e.video != nil {
			d := openVideo(t, e.codec)
			for _, u := range [][]byte{nil, {}, {0}, {0, 0, 0, 1}, make([]byte, 1000)} {
				if n, _ := feedVideo(t, d, testMaxPixels, u); n != 0 {
					t.Errorf("%v made %d pictures of nothing", e.codec, n)
				}
			}
			continue
		}
		d := openAudio(t, CodecParameters{Codec: e.codec}, 48000, 1)
		for _, u := range [][]byte{nil, {}, make([]byte, 100000)} {
			if _, err := d.Decode(nil, u); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v: packet of %d bytes: %v", e.codec, len(u), err)
			}
		}
	}
}

func TestF12_InterFramesBeforeAKeyFrameMakeNoPicture(t *testing.T) {
	checkMemory(t)
	for codec, name := range map[Codec]string{
		CodecVP8: "vp8.ivf", CodecVP9: "vp9.ivf", CodecH264: "h264-baseline.h264", CodecH265: "h265.h265", CodecAV1: "av1.ivf",
	} {
		units := clipUnits(t, name)
		if n, _ := feedVideo(t, openVideo(t, codec), testMaxPixels, units[1:]...); n != 0 {
			t.Errorf("%s: %d pictures without a key frame", name, n)
		}
	}
}

func TestF12_PicturesBeyondTheLimitAreRefused(t *testing.T) {
	for _, c := range []struct {
		codec        Codec
		name         string
		small, large int // pixels
	}{
		{CodecVP8, "vp8-resize.ivf", 161 * 91, 320 * 180}, {CodecVP9, "vp9-resize.ivf", 161 * 91, 320 * 180},
		{CodecH264, "h264-resize.h264", 160 * 90, 322 * 182}, {CodecH265, "h265-resize.h265", 160 * 90, 320 * 180},
		{CodecAV1, "av1-resize.ivf", 161 * 91, 320 * 180},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkMemory(t)
			units := clipUnits(t, c.name)
			for _, limit := range []int{1, c.small - 1, c.small, c.large - 1, c.large} {
				d, err := newVideoDecoder(c.codec, limit)
				if err != nil {
					t.Fatal(err)
				}
				want := 0
				if limit >= c.small {
					want = 8
				}
				if limit >= c.large {
					want = 12
				}
				pictures, failed, faults := 0, false, 0
				for i, u := range units {
					if failed = failed && i%4 != 0; !failed { // what builds on a key frame that was refused is not decoded
						n, m := feedVideo(t, d, limit, u)
						pictures, failed = pictures+n, m > 0
					}
					if failed {
						faults++
					}
				}
				if pictures != want || faults != 12-want {
					t.Errorf("limit of %d pixels: %d pictures, %d faults, want %d, %d", limit, pictures, faults, want, 12-want)
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestF12_AMissingSliceIsConcealedAndMarked(t *testing.T) {
	checkMemory(t)
	units := clipUnits(t, "h264-high.h264")
	d := openVideo(t, CodecH264)
	decodeOne(t, d, units[0], 0).Release()
	cut := units[1][:len(units[1])*2/3] // the last of four slices goes
	ps, err := d.Decode(nil, cut, 1)
	corrupt := false
	for _, p := range ps {
		im, downloadErr := p.Download()
		if downloadErr != nil {
			t.Fatal(downloadErr)
		}
		corrupt = corrupt || im.Corrupt
		p.Release()
	}
	if err == nil && !corrupt {
		t.Errorf("%d pictures of a cut unit, and nothing was said", len(ps))
	}
}

func TestF12_DamagedAudioIsSurvived(t *testing.T) {
	for _, clip := range audioClips() {
		t.Run(clip.name, func(t *testing.T) {
			checkMemory(t)
			d := openAudio(t, CodecParameters{Codec: clip.codec, Channels: clip.channels}, clip.rate, clip.channels)
			rnd := rand.New(rand.NewPCG(3, 4))
			var out []int16
			for _, u := range clipUnits(t, clip.name+clip.ext) {
				for range 10 {
					bad := damage(rnd, u)
					var err error
					if out, err = d.Decode(out[:0], bad); err != nil && !errors.Is(err, ErrCorrupt) {
						t.Fatal(err)
					}
					if len(out) > 48000/1000*120*2 {
						t.Fatalf("%d samples of one packet", len(out))
					}
					if out, _, err = d.Recover(out[:0], bad, 960); err != nil && !errors.Is(err, ErrCorrupt) {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestF12_ClosedDecodersSaySo(t *testing.T) {
	checkMemory(t)
	for _, clip := range videoClips()[:1] {
		d := openVideo(t, clip.codec)
		p := decodeOne(t, d, clipUnits(t, clip.name+clip.ext)[0], 0)
		for range 2 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if ps, err := d.Decode(nil, []byte{1}, 0); err == nil || len(ps) != 0 {
			t.Errorf("%v: %d pictures after close, %v", clip.codec, len(ps), err)
		}
		touch(t, p)
		p.Release()
	}
	for _, clip := range audioClips() {
		d := openAudio(t, CodecParameters{Codec: clip.codec}, clip.rate, 1)
		for range 2 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := d.Decode(nil, []byte{1, 2}); err == nil || len(out) != 0 {
			t.Errorf("%v: %d samples after close, %v", clip.codec, len(out), err)
		}
	}
}

func TestF12_UnknownAndMismatchedCodecs(t *testing.T) {
	if _, err := newVideoDecoder(CodecUnknown, 1); !errors.Is(err, ErrUnsupportedCodec) {
		t.Error(err)
	}
	if _, err := newVideoDecoder(CodecOpus, 1); !errors.Is(err, ErrKindMismatch) {
		t.Error(err)
	}
	if _, err := newAudioDecoder(CodecParameters{Codec: CodecVP8}, 48000, 1); !errors.Is(err, ErrKindMismatch) {
		t.Error(err)
	}
	if d, err := newVideoDecoder(CodecVP8, 0); err == nil {
		_ = d.Close()
		t.Error("a limit of no pixels was taken")
	}
}

func TestF22_ParameterSetsFromFmtp(t *testing.T) {
	checkMemory(t)
	units := annexBNALs(clipUnits(t, "h264-baseline.h264")[0])
	var sets, rest []byte
	fmtp := "packetization-mode=1; sprop-parameter-sets="
	for _, nal := range units {
		switch nal[0] & 31 {
		case 7, 8:
			sets = append(append(sets, 0, 0, 0, 1), nal...)
			fmtp += encodeSet(nal) + ","
		default:
			rest = append(append(rest, 0, 0, 0, 1), nal...)
		}
	}
	fmtp = fmtp[:len(fmtp)-1] + ";profile-level-id=42e01e"
	if got := spropSets(fmtp); string(got) != string(sets) {
		t.Fatalf("%x, want %x", got, sets)
	}
	track := newTestTrack(t, KindVideo)
	params := h264Params
	params.Fmtp = fmtp
	track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
	c := subscribe(t, track, Request{})
	for _, p := range packetsOf(&params, &codecs.H264Payloader{}, 1200, rest) {
		track.mu.Lock()
		track.assembler.push(p)
		track.mu.Unlock()
	}
	frame(t, c)
	for _, bad := range []string{"", "sprop-parameter-sets", "sprop-parameter-sets=", "sprop-parameter-sets=!,,", "sprop-parameter-sets=Z0LAHtkAoD2hAAADAAEAAAMAMg8WLkg=,"} {
		if got := spropSets(bad); got != nil {
			t.Errorf("%q gave %x", bad, got)
		}
	}
}

// spropSets returns the H.264 parameter sets in a=fmtp, in Annex B.
func spropSets(fmtp string) []byte {
	s := newParameterSets(fmtp, h264SetKind)
	return s.complete(nil)
}

func FuzzVideo(f *testing.F) {
	for _, clip := range videoClips() {
		units := clipUnits(f, clip.name+clip.ext)
		f.Add(uint8(clip.codec), units[0], units[1])
		f.Add(uint8(clip.codec), units[0][:len(units[0])/2], units[1][:3])
	}
	f.Fuzz(func(t *testing.T, codec uint8, key, next []byte) {
		const limit = 1 << 18
		d, err := newVideoDecoder(Codec(codec), limit)
		if err != nil {
			return
		}
		defer func() { _ = d.Close() }()
		feedVideo(t, d, limit, key, next, key)
	})
}

func FuzzAudio(f *testing.F) {
	for _, clip := range audioClips() {
		units := clipUnits(f, clip.name+clip.ext)
		f.Add(uint8(clip.codec), units[0], units[1], 960)
		f.Add(uint8(clip.codec), units[2][:1], units[3], 1)
	}
	f.Fuzz(func(t *testing.T, codec uint8, packet, next []byte, samples int) {
		d, err := newAudioDecoder(CodecParameters{Codec: Codec(codec)}, 48000, 2)
		if err != nil {
			return
		}
		defer func() { _ = d.Close() }()
		out, err := d.Decode(nil, packet)
		if err != nil && !errors.Is(err, ErrCorrupt) || len(out)%d.Channels() != 0 {
			t.Fatalf("%d samples, %v", len(out), err)
		}
		samples = min(max(samples, 0), 48000)
		if out, _, err = d.Recover(nil, next, samples); err == nil && len(out) != samples*d.Channels() {
			t.Fatalf("%d of %d samples", len(out), samples)
		}
	})
}

func FuzzSprop(f *testing.F) {
	f.Add("sprop-parameter-sets=Z0LAHtkAoD2hAAADAAEAAAMAMg8WLkg=,aMuMsg==")
	f.Add("sprop-parameter-sets=Z/////8=,AAAA,Z0LAHg==")
	f.Fuzz(func(t *testing.T, fmtp string) {
		if got := spropSets(fmtp); len(got) > 4*len(fmtp) {
			t.Fatalf("%d bytes of %d", len(got), len(fmtp))
		}
		if d := newH265Depacketizer(fmtp); len(d.sets.complete(nil)) > 4*len(fmtp) {
			t.Fatalf("%d bytes of %d for H.265", len(d.sets.complete(nil)), len(fmtp))
		}
	})
}
