package media

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/media/internal/picture"
)

const testMaxPixels = 1920 * 1080

// videoClip is a row of the conformance suite for video: what a codec must decode, and to what.
type videoClip struct {
	codec  Codec
	name   string // in testdata, with name.md5 beside it
	ext    string
	layout picture.Layout
	matrix picture.Matrix
	full   bool
}

func videoClips() []videoClip {
	return []videoClip{
		{CodecVP8, "vp8", ".ivf", picture.I420, picture.BT601, false},
		{CodecVP8, "vp8-odd", ".ivf", picture.I420, picture.BT601, false},
		{CodecVP8, "vp8-resize", ".ivf", picture.I420, picture.BT601, false},
		{CodecH264, "h264-baseline", ".h264", picture.I420, picture.BT601, false},
		{CodecH264, "h264-high", ".h264", picture.I420, picture.BT709, false},
		{CodecH264, "h264-resize", ".h264", picture.I420, picture.BT601, false},
		{CodecH264, "h264-crop", ".h264", picture.I420, picture.BT601, false},
		{CodecH264, "h264-422", ".h264", picture.I422, picture.BT601, true},
		{CodecH264, "h264-444", ".h264", picture.I444, picture.BT601, false},
		{CodecH264, "h264-10bit", ".h264", picture.I010, picture.BT601, false},
		{CodecVP9, "vp9", ".ivf", picture.I420, picture.BT601, false},
		{CodecVP9, "vp9-odd", ".ivf", picture.I420, picture.BT601, false},
		{CodecVP9, "vp9-resize", ".ivf", picture.I420, picture.BT601, false},
		{CodecVP9, "vp9-10bit", ".ivf", picture.I010, picture.BT601, false},
		{CodecH265, "h265", ".h265", picture.I420, picture.BT601, false},
		{CodecH265, "h265-odd", ".h265", picture.I420, picture.BT601, false},
		{CodecH265, "h265-resize", ".h265", picture.I420, picture.BT601, false},
		{CodecH265, "h265-slices", ".h265", picture.I420, picture.BT601, false},
		{CodecH265, "h265-10bit", ".h265", picture.I010, picture.BT601, false},
		{CodecAV1, "av1", ".ivf", picture.I420, picture.BT601, false},
		{CodecAV1, "av1-odd", ".ivf", picture.I420, picture.BT601, false},
		{CodecAV1, "av1-resize", ".ivf", picture.I420, picture.BT601, false},
		{CodecAV1, "av1-grain", ".ivf", picture.I420, picture.BT601, false},
		{CodecAV1, "av1-10bit", ".ivf", picture.I010, picture.BT601, false},
	}
}

// audioClip is a row of the suite for audio.
type audioClip struct {
	codec          Codec
	name, ext      string
	rate, channels int
	minSNR         float64 // dB; infinite asks for the same samples
}

func audioClips() []audioClip {
	exact := math.Inf(1)
	return []audioClip{
		{CodecOpus, "opus-mono", ".ogg", 48000, 1, 70},
		{CodecOpus, "opus-stereo", ".ogg", 48000, 2, 70},
		{CodecOpus, "opus-change", ".ogg", 48000, 2, 60}, // libopus 1.4 differs from 1.3 by 66.6 dB, and by 37 in silence; that of this machine see below
		{CodecOpus, "opus-dtx", ".ogg", 48000, 1, 30},
		{CodecPCMU, "pcmu", ".raw", 8000, 1, exact},
		{CodecPCMA, "pcma", ".raw", 8000, 1, exact},
		{CodecG722, "g722", ".g722", 16000, 1, exact},
	}
}

func TestF1_EveryCodecHasAClip(t *testing.T) {
	clips := map[Codec]int{}
	for _, c := range videoClips() {
		clips[c.codec]++
	}
	for _, c := range audioClips() {
		clips[c.codec]++
	}
	for _, e := range codecTable() {
		if clips[e.codec] == 0 {
			t.Errorf("%v is in the table and has no clip", e.codec)
		}
		if !Decodable(e.codec) || (e.audio == nil) == (e.video == nil) || (e.video != nil) != (e.codec.Kind() == KindVideo) {
			t.Errorf("%v: a row must have one decoder, of its kind", e.codec)
		}
	}
	if Decodable(CodecUnknown) {
		t.Error("an unknown codec is said to be decodable")
	}
}

func TestF1_Video(t *testing.T) {
	for _, clip := range videoClips() {
		t.Run(clip.name, func(t *testing.T) {
			checkMemory(t)
			want := strings.Fields(strings.ReplaceAll(string(fixture(t, clip.name+".md5")), " ", "/"))
			units := clipUnits(t, clip.name+clip.ext)
			if len(units) != len(want) {
				t.Fatalf("%d units for %d expected pictures", len(units), len(want))
			}
			d := openVideo(t, clip.codec)
			for i, u := range units {
				p := decodeOne(t, d, u, int64(1000+i))
				if p.Tag() != int64(1000+i) {
					t.Errorf("picture %d has tag %d", i, p.Tag())
				}
				im, err := p.Download()
				if err != nil {
					t.Fatal(err)
				}
				if got := imageSum(im); got != want[i] {
					t.Errorf("picture %d is %s, want %s", i, got, want[i])
				}
				if im.Layout != clip.layout || im.Matrix != clip.matrix || im.FullRange != clip.full || im.Corrupt {
					t.Errorf("picture %d: layout %d matrix %d full %v corrupt %v", i, im.Layout, im.Matrix, im.FullRange, im.Corrupt)
				}
				p.Release()
			}
		})
	}
}

func TestF1_Audio(t *testing.T) {
	for _, clip := range audioClips() {
		t.Run(clip.name, func(t *testing.T) {
			checkMemory(t)
			want := samplesOf(fixture(t, clip.name+".pcm.gz"))
			got := decodeClip(t, clip.codec, clip.name+clip.ext, clip.rate, clip.channels)
			if clip.ext == ".ogg" {
				_, skip := oggPackets(t, fixture(t, clip.name+clip.ext))
				got = got[skip*clip.channels:]
			}
			if len(got) < len(want) || len(want) < clip.rate/2 {
				t.Fatalf("%d samples, want at least %d", len(got), len(want))
			}
			if snr := snrOf(want, got); snr < clip.minSNR {
				t.Errorf("SNR %.1f dB, want %.1f", snr, clip.minSNR)
			}
			if clip.codec != CodecOpus {
				return
			}
			if want := soundByFFmpeg(t, clip.name+clip.ext, clip.channels); len(want) < clip.rate/2 || len(got) < len(want) || snrOf(want, got) < 70 {
				t.Errorf("%d samples, %d by ffmpeg, SNR %.1f dB", len(got), len(want), snrOf(want[:min(len(want), len(got))], got))
			}
		})
	}
}

func TestF1_OpusAtOtherRates(t *testing.T) {
	checkMemory(t)
	for _, c := range []struct{ ask, native int }{{8000, 8000}, {16000, 16000}, {24000, 24000}, {32000, 48000}, {44100, 48000}, {48000, 48000}} {
		for channels := 1; channels <= 2; channels++ {
			d, err := newAudioDecoder(CodecParameters{Codec: CodecOpus, ClockRate: 48000, Channels: 2}, c.ask, channels)
			if err != nil {
				t.Fatal(err)
			}
			if d.Rate() != c.native || d.Channels() != channels {
				t.Errorf("asked for %d Hz: %d Hz, %d channels", c.ask, d.Rate(), d.Channels())
			}
			out, err := d.Decode(nil, clipUnits(t, "opus-stereo.ogg")[0])
			if err != nil || len(out) != c.native/50*channels {
				t.Errorf("%d Hz, %d channels: %d samples of a 20 ms packet, %v", c.native, channels, len(out), err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The stereo clip has speech left and a tone right: mono must be their average.
func TestF1_OpusStereoToMonoIsTheAverage(t *testing.T) {
	checkMemory(t)
	stereo := decodeClip(t, CodecOpus, "opus-stereo.ogg", 48000, 2)
	mono := decodeClip(t, CodecOpus, "opus-stereo.ogg", 48000, 1)
	want := make([]int16, len(stereo)/2)
	for i := range want {
		want[i] = int16((int(stereo[2*i]) + int(stereo[2*i+1])) / 2)
	}
	if snr := snrOf(want, mono); len(mono) != len(want) || snr < 40 {
		t.Errorf("%d samples for %d, SNR %.1f dB", len(mono), len(want), snr)
	}
}

// A 20 ms packet is lost now and then: FEC must come nearer to it than concealment.
func TestF1_OpusRecoversByFEC(t *testing.T) {
	checkMemory(t)
	packets := clipUnits(t, "opus-fec.ogg")
	whole := decodeClip(t, CodecOpus, "opus-fec.ogg", 16000, 1)
	run := func(fec bool) (out []int16, recovered int) {
		d := openAudio(t, CodecParameters{Codec: CodecOpus}, 16000, 1)
		for i := 0; i < len(packets); i++ {
			var err error
			if i%5 == 4 && i+1 < len(packets) {
				var by bool
				if fec {
					out, by, err = d.Recover(out, packets[i+1], 320)
				} else {
					out, err = d.Conceal(out, 320)
				}
				if by {
					recovered++
				}
			} else {
				out, err = d.Decode(out, packets[i])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return out, recovered
	}
	fec, recovered := run(true)
	concealed, _ := run(false)
	if len(fec) != len(whole) || len(concealed) != len(whole) {
		t.Fatalf("%d and %d samples, want %d: repair must not change the time line", len(fec), len(concealed), len(whole))
	}
	by, without := snrOf(whole, fec), snrOf(whole, concealed)
	if recovered < 5 || by < without+3 {
		t.Errorf("%d recovered, SNR %.1f dB with FEC, %.1f without", recovered, by, without)
	}
	t.Logf("%d recovered, SNR %.1f dB with FEC, %.1f dB without", recovered, by, without)
}

func TestF1_ConcealmentHasTheLengthAskedFor(t *testing.T) {
	checkMemory(t)
	for _, c := range []struct {
		codec Codec
		clip  string
	}{{CodecOpus, "opus-mono.ogg"}, {CodecPCMU, "pcmu.raw"}, {CodecPCMA, "pcma.raw"}, {CodecG722, "g722.g722"}} {
		d := openAudio(t, CodecParameters{Codec: c.codec}, 16000, 1)
		units := clipUnits(t, c.clip)
		for _, u := range units[:20] {
			if _, err := d.Decode(nil, u); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []int{0, 1, 77, d.Rate() / 50, d.Rate() / 5, d.Rate()} {
			out, err := d.Conceal(nil, n)
			if err != nil || len(out) != n {
				t.Errorf("%v: concealed %d of %d samples, %v", c.codec, len(out), n, err)
			}
			out, _, err = d.Recover(nil, units[21], n)
			if err != nil || len(out) != n {
				t.Errorf("%v: recovered %d of %d samples, %v", c.codec, len(out), n, err)
			}
		}
		out, err := d.Conceal(nil, d.Rate())
		if err != nil || loudness(out[len(out)/2:]) > 10 {
			t.Errorf("%v: concealment does not fade: %.0f, %v", c.codec, loudness(out[len(out)/2:]), err)
		}
	}
}

func TestF1_G711ConcealmentFadesFromWhatWasHeard(t *testing.T) {
	checkMemory(t)
	d := openAudio(t, CodecParameters{Codec: CodecPCMU, Channels: 1}, 8000, 1)
	for range 2 { // what is heard ends one loss, and another begins anew
		heard, err := d.Decode(nil, clipUnits(t, "pcmu.raw")[20])
		if err != nil {
			t.Fatal(err)
		}
		before := loudness(heard[80:])
		for step := range fadeSteps + 1 {
			made, err := d.Conceal(nil, 80)
			if err != nil {
				t.Fatal(err)
			}
			want := before / float64(int(2)<<step)
			if step == fadeSteps {
				want = 0
			}
			if is := loudness(made); is < want-2 || is > want+2 {
				t.Errorf("%d ms into the loss: loudness %.0f, want %.0f", 10*step, is, want)
			}
		}
	}
}

func openVideo(t testing.TB, c Codec) videoDecoder {
	t.Helper()
	d, err := newVideoDecoder(c, testMaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func openAudio(t testing.TB, p CodecParameters, rate, channels int) audioDecoder {
	t.Helper()
	d, err := newAudioDecoder(p, rate, channels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// decodeOne asks for one picture of one unit: none may wait inside.
func decodeOne(t testing.TB, d videoDecoder, unit []byte, tag int64) picture.Picture {
	t.Helper()
	ps, err := d.Decode(nil, unit, tag)
	if err != nil || len(ps) != 1 {
		t.Fatalf("unit %d: %d pictures, %v", tag, len(ps), err)
	}
	return ps[0]
}

func decodeClip(t testing.TB, c Codec, name string, rate, channels int) []int16 {
	t.Helper()
	d := openAudio(t, CodecParameters{Codec: c, Channels: channels}, rate, channels)
	var out []int16
	for i, u := range clipUnits(t, name) {
		var err error
		if out, err = d.Decode(out, u); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	return out
}

func imageSum(im *picture.Image) string {
	return sumOf(im.Width, im.Height, planesOf(im))
}

// sumOf is what is expected of a picture, as make.sh writes it.
func sumOf(width, height int, planes []byte) string {
	sum := md5.Sum(planes)
	return fmt.Sprintf("%dx%d/%s", width, height, hex.EncodeToString(sum[:]))
}

// planesOf returns the planes without padding.
func planesOf(im *picture.Image) []byte {
	var out []byte
	for i, plane := range im.Planes {
		row, rows := im.PlaneSize(i)
		for y := range rows {
			out = append(out, plane[y*im.Strides[i]:][:row]...)
		}
	}
	return out
}

func samplesOf(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// snrOf returns the ratio in dB of what is wanted to the difference, over want's length.
func snrOf(want, got []int16) float64 {
	var signal, noise float64
	for i, w := range want {
		d := float64(w) - float64(got[i])
		signal += float64(w) * float64(w)
		noise += d * d
	}
	if noise == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(signal/noise)
}

// loudness is the root of the mean square.
func loudness(s []int16) float64 {
	var sum float64
	for _, v := range s {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(len(s), 1)))
}
