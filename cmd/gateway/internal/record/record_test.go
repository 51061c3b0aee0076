package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// start returns a recorder into a new directory, told of the header.
func start(t *testing.T, name string, h *penstockv1.StreamHeader) (*Recorder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	r, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Header(h); err != nil {
		t.Fatal(err)
	}
	return r, path
}

// record writes frames and closes, and returns the first file.
func record(t *testing.T, name string, h *penstockv1.StreamHeader, frames ...Frame) []byte {
	t.Helper()
	r, path := start(t, name, h)
	for _, f := range frames {
		if err := r.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// encoded returns a clip's units as the gateway streams them.
func encoded(t *testing.T, clip clips.Clip) []Frame {
	t.Helper()
	units, err := clip.Units()
	if err != nil {
		t.Fatal(err)
	}
	var frames []Frame
	for i, u := range units {
		at := time.Duration(i) * time.Second / time.Duration(clip.UnitsPerSecond())
		info := &penstockv1.FrameInfo{PresentationTimeNs: int64(at), RtpTimestamp: uint32(at.Seconds() * 90000)}
		if clip.IsAudio() {
			frames = append(frames, Frame{Audio: &penstockv1.AudioFrame{Info: info, Payload: u.Data}})
		} else {
			frames = append(frames, Frame{Video: &penstockv1.VideoFrame{Info: info, Width: 320, Height: 180, Payload: u.Data}})
		}
	}
	return frames
}

func encodedHeader(codec penstockv1.Codec) *penstockv1.StreamHeader {
	return &penstockv1.StreamHeader{Codec: codec, Format: requestEncoded(codec)()}
}

func TestIVFHoldsEveryUnitAndItsTime(t *testing.T) {
	frames := encoded(t, clips.AliceCamera())
	file := record(t, "a.ivf", encodedHeader(penstockv1.Codec_CODEC_VP8), frames...)
	r, header, err := ivfreader.NewWith(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if header.FourCC != "VP80" || header.Width != 320 || header.Height != 180 || header.NumFrames != uint32(len(frames)) {
		t.Errorf("header %+v of %d frames", header, len(frames))
	}
	if header.TimebaseDenominator != ivfClock || header.TimebaseNumerator != 1 {
		t.Errorf("time base %d/%d", header.TimebaseNumerator, header.TimebaseDenominator)
	}
	for i, f := range frames {
		payload, h, err := r.ParseNextFrame()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if !bytes.Equal(payload, f.Payload()) {
			t.Fatalf("frame %d has other bytes", i)
		}
		// The reader multiplies by the denominator of the time base.
		if want := uint64(math.Round(float64(f.Info().GetPresentationTimeNs()) * 9e-5)); h.Timestamp != want*ivfClock {
			t.Errorf("frame %d at %d ticks, want %d", i, h.Timestamp/ivfClock, want)
		}
	}
	if _, _, err := r.ParseNextFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v", err)
	}
}

func TestAnnexBHoldsEveryUnit(t *testing.T) {
	frames := encoded(t, clips.BobScreen())
	file := record(t, "a.h264", encodedHeader(penstockv1.Codec_CODEC_H264), frames...)
	r, err := h264reader.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	pictures := 0
	for {
		nal, err := r.NextNAL()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr || nal.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr {
			pictures++
		}
	}
	if pictures < len(frames) {
		t.Errorf("%d slices of %d pictures", pictures, len(frames))
	}
}

func TestOggHoldsEveryPacket(t *testing.T) {
	frames := encoded(t, clips.BobMicrophone())
	silent := Frame{Audio: &penstockv1.AudioFrame{Info: &penstockv1.FrameInfo{}}}
	file := record(t, "a.ogg", encodedHeader(penstockv1.Codec_CODEC_OPUS), append(slices.Clone(frames), silent)...)
	r, header, err := oggreader.NewWith(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if header.SampleRate != 48000 {
		t.Errorf("sample rate %d", header.SampleRate)
	}
	var packets [][]byte
	for {
		packet, _, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(packet, []byte("OpusTags")) {
			packets = append(packets, packet)
		}
	}
	if len(packets) != len(frames) {
		t.Fatalf("%d packets of %d", len(packets), len(frames))
	}
	for i := range packets {
		if !bytes.Equal(packets[i], frames[i].Payload()) {
			t.Fatalf("packet %d has other bytes", i)
		}
	}
}

// picture returns an I420 picture whose rows are padded, each byte of a plane telling the plane.
func picture(width, height int) Frame {
	const pad = 5
	cw, ch := (width+1)/2, (height+1)/2
	var payload []byte
	var planes []*penstockv1.Plane
	for i, size := range [][2]int{{width, height}, {cw, ch}, {cw, ch}} {
		planes = append(planes, &penstockv1.Plane{Offset: uint32(len(payload)), Stride: uint32(size[0] + pad)})
		for range size[1] {
			payload = append(payload, bytes.Repeat([]byte{byte(i + 1)}, size[0])...)
			payload = append(payload, make([]byte, pad)...)
		}
	}
	return Frame{Video: &penstockv1.VideoFrame{Info: &penstockv1.FrameInfo{}, Width: uint32(width), Height: uint32(height), Planes: planes, Payload: payload}}
}

func i420Header() *penstockv1.StreamHeader { return &penstockv1.StreamHeader{Format: requestI420()} }

func TestY4MDropsRowPadding(t *testing.T) {
	got := record(t, "a.y4m", i420Header(), picture(5, 3), picture(5, 3))
	frame := "FRAME\n" + strings.Repeat("\x01", 15) + strings.Repeat("\x02", 6) + strings.Repeat("\x03", 6)
	if want := "YUV4MPEG2 W5 H3 F30:1 Ip A1:1 C420jpeg\n" + frame + frame; string(got) != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestY4MStartsANewFileWhenTheSizeChanges(t *testing.T) {
	r, path := start(t, "talk.y4m", i420Header())
	for _, f := range []Frame{picture(4, 4), picture(4, 4), picture(8, 4), picture(4, 4)} {
		if err := r.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := []string{path, filepath.Join(dir, "talk-2.y4m"), filepath.Join(dir, "talk-3.y4m")}
	if !slices.Equal(r.Paths(), want) {
		t.Fatalf("files %q, want %q", r.Paths(), want)
	}
	for i, pictures := range []int{2, 1, 1} {
		b, err := os.ReadFile(want[i])
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("FRAME\n")); n != pictures {
			t.Errorf("%s has %d pictures, want %d", want[i], n, pictures)
		}
	}
}

func TestPicturesThatLieAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(v *penstockv1.VideoFrame){
		"short payload":   func(v *penstockv1.VideoFrame) { v.Payload = v.Payload[:len(v.Payload)-20] },
		"narrow stride":   func(v *penstockv1.VideoFrame) { v.Planes[0].Stride = 1 },
		"far offset":      func(v *penstockv1.VideoFrame) { v.Planes[2].Offset = 1 << 31 },
		"missing planes":  func(v *penstockv1.VideoFrame) { v.Planes = v.Planes[:1] },
		"height too much": func(v *penstockv1.VideoFrame) { v.Height = 1 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := start(t, "a.y4m", i420Header())
			f := picture(4, 4)
			spoil(f.Video)
			if err := r.Write(f); !errors.Is(err, ErrFrame) {
				t.Errorf("got %v, want ErrFrame", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func pcmHeader(rate, channels uint32, f penstockv1.SampleFormat) *penstockv1.StreamHeader {
	return &penstockv1.StreamHeader{Format: &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{
		Audio: &penstockv1.AudioFormat{SampleRateHz: rate, Channels: channels, SampleFormat: f},
	}}}
}

// chunk returns 20 ms of PCM whose bytes are all b.
func chunk(at time.Duration, rate, blockBytes int, b byte) Frame {
	samples := rate / 50
	return Frame{Audio: &penstockv1.AudioFrame{
		Info: &penstockv1.FrameInfo{PresentationTimeNs: int64(at)}, SampleCount: uint32(samples),
		Payload: bytes.Repeat([]byte{b}, samples*blockBytes),
	}}
}

func TestWAVHeaderTellsWhatFollows(t *testing.T) {
	for _, c := range []struct {
		rate, channels uint32
		format         penstockv1.SampleFormat
		tag            uint16
		block          int
	}{
		{48000, 1, penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE, 1, 2},
		{16000, 2, penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE, 1, 4},
		{44100, 2, penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE, 3, 8},
	} {
		t.Run(fmt.Sprint(c.rate, c.channels, c.format), func(t *testing.T) {
			f := chunk(0, int(c.rate), c.block, 7)
			got := record(t, "a.wav", pcmHeader(c.rate, c.channels, c.format), f)
			if string(got[:4])+string(got[8:16])+string(got[36:40]) != "RIFFWAVEfmt data" {
				t.Fatalf("header %q", got[:44])
			}
			u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
			if u32(got[4:]) != uint32(len(got)-8) || u32(got[40:]) != uint32(len(f.Payload())) {
				t.Errorf("sizes %d and %d of a file of %d", u32(got[4:]), u32(got[40:]), len(got))
			}
			if u16(got[20:]) != c.tag || u16(got[22:]) != uint16(c.channels) || u32(got[24:]) != c.rate ||
				u32(got[28:]) != c.rate*uint32(c.block) || u16(got[32:]) != uint16(c.block) || u16(got[34:]) != uint16(c.block*8/int(c.channels)) {
				t.Errorf("format % x", got[20:36])
			}
			if !bytes.Equal(got[44:], f.Payload()) {
				t.Error("other samples")
			}
		})
	}
}

func TestWAVFillsGapsWithSilence(t *testing.T) {
	const ms = time.Millisecond
	got := record(t, "a.wav", pcmHeader(8000, 1, penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE),
		chunk(1000*ms, 8000, 2, 1), chunk(1020*ms, 8000, 2, 1), chunk(2040*ms, 8000, 2, 1), chunk(2060*ms, 8000, 2, 1))
	samples := got[wavHeaderBytes:]
	if want := 8000 * 2 * 1080 / 1000; len(samples) != want {
		t.Fatalf("%d bytes, want %d", len(samples), want)
	}
	if n := bytes.Count(samples, []byte{0}); n != 2*8000 {
		t.Errorf("%d bytes of silence, want a second", n)
	}
}

func TestWAVStopsBeforeItsSizesOverflow(t *testing.T) {
	r, _ := start(t, "a.wav", pcmHeader(8000, 1, penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE))
	if err := r.Write(chunk(0, 8000, 2, 1)); err != nil {
		t.Fatal(err)
	}
	r.out.(*wav).maxDataSize = 1000
	for i := range 3 {
		if err := r.Write(chunk(time.Duration(i+1)*20*time.Millisecond, 8000, 2, 1)); i == 2 && !errors.Is(err, ErrTooLong) {
			t.Errorf("got %v, want ErrTooLong", err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestWAVRefusesHalfSamples(t *testing.T) {
	r, _ := start(t, "a.wav", pcmHeader(8000, 2, penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE))
	f := chunk(0, 8000, 4, 1)
	f.Audio.Payload = f.Audio.Payload[:len(f.Audio.Payload)-1]
	if err := r.Write(f); !errors.Is(err, ErrFrame) {
		t.Errorf("got %v, want ErrFrame", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestANewHeaderStartsANewFileOnlyWhenItMust(t *testing.T) {
	r, _ := start(t, "a.wav", pcmHeader(8000, 1, 0))
	step := func(h *penstockv1.StreamHeader, rate int) {
		t.Helper()
		if err := r.Header(h); err != nil {
			t.Fatal(err)
		}
		if err := r.Write(chunk(0, rate, 2, 1)); err != nil {
			t.Fatal(err)
		}
	}
	step(pcmHeader(8000, 1, 0), 8000)
	step(pcmHeader(8000, 1, 0), 8000)
	if n := len(r.Paths()); n != 1 {
		t.Errorf("%d files for the same format", n)
	}
	step(pcmHeader(16000, 1, 0), 16000)
	if n := len(r.Paths()); n != 2 {
		t.Errorf("%d files for two rates", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestCodecsThatDoNotFitLeaveNoFile(t *testing.T) {
	for name, codec := range map[string]penstockv1.Codec{
		"a.ivf": penstockv1.Codec_CODEC_H264, "a.h264": penstockv1.Codec_CODEC_VP8, "a.ogg": penstockv1.Codec_CODEC_PCMU,
	} {
		r, path := start(t, name, encodedHeader(codec))
		f := Frame{Video: &penstockv1.VideoFrame{}}
		if codec == penstockv1.Codec_CODEC_PCMU {
			f = Frame{Audio: &penstockv1.AudioFrame{}}
		}
		if err := r.Write(f); !errors.Is(err, ErrCodec) {
			t.Errorf("%v in %s: got %v, want ErrCodec", codec, name, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was left behind", name)
		}
	}
}

func TestUnknownExtensionsNameTheKnown(t *testing.T) {
	for _, path := range []string{"a.mp4", "a", ""} {
		_, err := NewRecorder(path)
		if !errors.Is(err, ErrExtension) || !strings.Contains(err.Error(), ".y4m, .wav, .ivf, .h264, .ogg") {
			t.Errorf("of %q: %v", path, err)
		}
	}
	if _, err := NewRecorder("A.Y4M"); err != nil {
		t.Errorf("capitals are refused: %v", err)
	}
}

func TestPathsThatCannotBeMade(t *testing.T) {
	r, err := NewRecorder(filepath.Join(t.TempDir(), "none", "a.y4m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Header(i420Header()); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(picture(4, 4)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
