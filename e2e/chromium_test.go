//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// probed is what ffprobe says of a file's only stream.
type probed struct {
	Codec      string `json:"codec_name"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	SampleRate string `json:"sample_rate"`
	Frames     string `json:"nb_read_frames"`
	frames     int
}

// probe lets ffprobe decode a whole file. What it says on its error output fails the test.
func probe(t *testing.T, path string, args ...string) probed {
	t.Helper()
	args = append(args, "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,width,height,sample_rate,nb_read_frames", "-of", "json", path)
	out, err := run(t.Context(), program(t, "FFPROBE", "ffprobe"), args...)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Streams []probed `json:"streams"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Streams) != 1 {
		t.Fatalf("ffprobe of %s: %v\n%s", path, err, out)
	}
	p := answer.Streams[0]
	if p.frames, err = strconv.Atoi(p.Frames); err != nil {
		t.Fatalf("ffprobe of %s counts no frames: %s", path, out)
	}
	return p
}

// opus is Chromium's name of the codec.
const opus = "audio/opus"

// record streams a source into several files at the same time, and returns their paths by extension.
func record(t *testing.T, g *gatewayProcess, session, source string, frames int, extensions ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths := make(map[string]string)
	var wg sync.WaitGroup
	for _, ext := range extensions {
		path := filepath.Join(dir, source+ext)
		paths[ext] = path
		wg.Go(func() {
			out, err := g.worker(t, "stream", "--session="+session, "--user=ann", "--source="+source, "--frames="+strconv.Itoa(frames), "--out="+path)
			if err != nil {
				t.Errorf("%v\n%s", err, g.log)
				return
			}
			t.Logf("%s", strings.TrimSpace(out))
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return paths
}

// publishing starts a gateway and a Chromium that publishes into a session of it, and waits until it is connected.
func publishing(t *testing.T, session, audio, video string) (*gatewayProcess, *browser) {
	t.Helper()
	g := serve(t)
	b := publish(t, "http://"+g.http+"/whip/"+session+"?user=ann", audio, video)
	answer := b.wait(t, "answered", nil)
	if audio == opus && !strings.Contains(answer, "stereo=1") {
		t.Errorf("the answer does not ask for stereo Opus:\n%s", answer)
	}
	b.wait(t, "state", func(s string) bool { return s == "connected" })
	return g, b
}

// ending lets the page delete its publication, and checks what it sees.
func ending(t *testing.T, g *gatewayProcess, b *browser, session string) {
	t.Helper()
	close(b.stop)
	if status := b.wait(t, "deleted", nil); status != "200" {
		t.Errorf("DELETE gives %s, want 200", status)
	}
	if status := b.wait(t, "deleted again", nil); status != "404" {
		t.Errorf("a second DELETE gives %s, want 404", status)
	}
	if out, err := g.worker(t, "tracks", "--session="+session); err == nil && strings.Contains(out, "live") {
		t.Errorf("after DELETE there are live tracks:\n%s", out)
	}
}

func TestC2_ChromiumPublishesVP8AndOpus(t *testing.T) {
	const session, frames = "c2-vp8", 40
	g, b := publishing(t, session, opus, "video/VP8")
	if status := b.wait(t, "patched", nil); status != "204" {
		t.Errorf("PATCH gives %s, want 204", status)
	}
	video := record(t, g, session, "camera", frames, ".y4m", ".ivf")
	audio := record(t, g, session, "microphone", 100, ".wav", ".ogg")

	if p := probe(t, video[".y4m"]); p.Codec != "rawvideo" || p.Width*3 != p.Height*4 || p.frames < 1 {
		t.Errorf("y4m: %+v", p)
	}
	checkColour(t, video[".y4m"])
	if p := probe(t, video[".ivf"]); p.Codec != "vp8" || p.Width*3 != p.Height*4 || p.frames != frames {
		t.Errorf("ivf: %+v, want %d frames of vp8", p, frames)
	}
	if p := probe(t, audio[".wav"]); p.Codec != "pcm_s16le" || p.SampleRate != "48000" {
		t.Errorf("wav: %+v", p)
	}
	checkLoud(t, audio[".wav"])
	if p := probe(t, audio[".ogg"]); p.Codec != "opus" || p.frames < 90 {
		t.Errorf("ogg: %+v", p)
	}
	checkLoud(t, audio[".ogg"])
	checkSnapshots(t, g, session)
	ending(t, g, b, session)
}

func TestC2_ChromiumPublishesH264(t *testing.T) {
	const session, frames = "c2-h264", 40
	g, b := publishing(t, session, opus, "video/H264")
	video := record(t, g, session, "camera", frames, ".y4m", ".h264")
	if p := probe(t, video[".y4m"]); p.Codec != "rawvideo" || p.Width*3 != p.Height*4 || p.frames < 1 {
		t.Errorf("y4m: %+v", p)
	}
	checkColour(t, video[".y4m"])
	if p := probe(t, video[".h264"]); p.Codec != "h264" || p.Width*3 != p.Height*4 || p.frames != frames {
		t.Errorf("h264: %+v, want %d frames", p, frames)
	}
	ending(t, g, b, session)
}

// Both codecs with one layer and with several, of which the highest is delivered and all are in what is passed on as received.
func TestF1_ChromiumPacketizesVP9AndAV1(t *testing.T) {
	for _, tc := range []struct{ video, codec string }{
		{"video/VP9", "vp9"}, {"video/AV1", "av1"}, {"video/VP9;L2T2_KEY", "vp9"}, {"video/AV1;L2T2", "av1"},
	} {
		t.Run(strings.ReplaceAll(tc.video, "/", " "), func(t *testing.T) {
			const frames = 30
			session := "f1-" + tc.codec
			g, b := publishing(t, session, opus, tc.video)
			video := record(t, g, session, "camera", frames, ".y4m", ".ivf")
			if p := probe(t, video[".y4m"]); p.Codec != "rawvideo" || p.Width*3 != p.Height*4 || p.frames < 1 {
				t.Errorf("y4m: %+v", p)
			}
			checkColour(t, video[".y4m"])
			if p := probe(t, video[".ivf"]); p.Codec != tc.codec || p.Width*3 != p.Height*4 || p.frames < frames {
				t.Errorf("ivf: %+v, want %d frames of %s", p, frames, tc.codec)
			}
			ending(t, g, b, session)
		})
	}
}

// TestF1_ChromiumPacketizesOpus lets Chromium send Opus as it is, and with the packet before again in each (RFC 2198). Decoded, the beeps of its fake microphone
// come as often and last as long as it makes them, with silence between.
func TestF1_ChromiumPacketizesOpus(t *testing.T) {
	const session = "f1-opus"
	bytes := make(map[string]float64) // a packet
	for _, audio := range []string{opus, opus + ";red"} {
		t.Run(strings.ReplaceAll(audio, "/", " "), func(t *testing.T) {
			g, b := publishing(t, session, audio, "video/VP8")
			wav := record(t, g, session, "microphone", 300, ".wav")[".wav"] // 6 s
			if p := probe(t, wav); p.Codec != "pcm_s16le" || p.SampleRate != "48000" {
				t.Errorf("wav: %+v", p)
			}
			checkBeeps(t, wav)
			ending(t, g, b, session)
			var sent struct{ Packets, Bytes float64 }
			if err := json.Unmarshal([]byte(b.wait(t, "sent", nil)), &sent); err != nil || sent.Packets < 300 {
				t.Fatalf("Chromium sent %+v: %v", sent, err)
			}
			bytes[audio] = sent.Bytes / sent.Packets
		})
	}
	if plain, twice := bytes[opus], bytes[opus+";red"]; twice < 1.5*plain { // its statistics name the codec alone
		t.Errorf("Chromium sent %.0f bytes a packet, and %.0f with redundancy", plain, twice)
	}
}

// The packets of the other codecs come from Chromium's packetizer in the tests above.
func TestF1_ChromiumPacketizesG711(t *testing.T) {
	for _, codec := range []string{"PCMU", "PCMA"} {
		t.Run(codec, func(t *testing.T) {
			session := "f1-" + strings.ToLower(codec)
			g, b := publishing(t, session, "audio/"+codec, "video/VP8")
			wav := record(t, g, session, "microphone", 100, ".wav")[".wav"]
			if p := probe(t, wav); p.Codec != "pcm_s16le" || p.SampleRate != "48000" {
				t.Errorf("wav: %+v", p)
			}
			checkLoud(t, wav)
			out, err := g.worker(t, "tracks", "--session="+session)
			if err != nil || !strings.Contains(strings.ToUpper(out), codec) {
				t.Errorf("the track is not told to be %s: %v\n%s", codec, err, out)
			}
			ending(t, g, b, session)
		})
	}
}

// TestF20_ChromiumPublishesSimulcast publishes three encodings. They are one track: who wants small pictures gets the smallest as it is sent, and
// who wants large ones the largest, as soon as Chromium sends it.
func TestF20_ChromiumPublishesSimulcast(t *testing.T) {
	const session = "f20"
	g, b := publishing(t, session, opus, "video/VP8;simulcast")
	if answer := b.wait(t, "answered", nil); !strings.Contains(answer, "a=simulcast:recv q;h;f") {
		t.Errorf("the answer takes no encodings:\n%s", answer)
	}
	widths := func(frames string, more ...string) (seen []int) {
		dir := t.TempDir()
		args := append([]string{"stream", "--session=" + session, "--user=ann", "--source=camera", "--frames=" + frames, "--out=" + filepath.Join(dir, "a.y4m")}, more...)
		if _, err := g.worker(t, args...); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.y4m")) // one for each size
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			seen = append(seen, probe(t, file).Width)
		}
		return seen
	}
	for limit := time.Now().Add(hang); ; { // until Chromium finds the path wide enough
		seen := widths("100")
		if slices.Contains(seen, 1280) {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the largest pictures were %v", seen)
		}
	}
	if seen := widths("60", "--width=160"); !slices.Equal(seen, []int{160}) {
		t.Errorf("asked for 160, got %v", seen)
	}
	out, err := g.worker(t, "tracks", "--session="+session)
	if err != nil || strings.Count(out, "camera") != 1 || !strings.Contains(out, "320×180") {
		t.Errorf("the tracks are %v\n%s", err, out)
	}
	ending(t, g, b, session)
}

// checkColour looks for the green of Chromium's fake camera, which is Y, U and V all 0, with a bright figure on it.
func checkColour(t *testing.T, path string) {
	t.Helper()
	out, err := run(t.Context(), program(t, "FFMPEG", "ffmpeg"), "-v", "error", "-i", path, "-vf", "signalstats,metadata=print:file=-", "-f", "null", "-")
	if err != nil {
		t.Fatal(err)
	}
	y, u, v := mean(t, out, "YAVG"), mean(t, out, "UAVG"), mean(t, out, "VAVG")
	if y < 5 || y > 100 || u > 40 || v > 40 {
		t.Errorf("mean colour Y %.0f U %.0f V %.0f is not the fake camera's green", y, u, v)
	}
}

// mean returns the mean of what signalstats prints under a name.
func mean(t *testing.T, out, name string) float64 {
	t.Helper()
	found := regexp.MustCompile(`signalstats\.`+name+`=([\d.]+)`).FindAllStringSubmatch(out, -1)
	if len(found) == 0 {
		t.Fatalf("no %s in\n%s", name, out)
	}
	sum := 0.0
	for _, m := range found {
		value, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += value
	}
	return sum / float64(len(found))
}

// checkLoud looks for the beeps of Chromium's fake microphone.
func checkLoud(t *testing.T, path string) {
	t.Helper()
	out, err := run(t.Context(), program(t, "FFMPEG", "ffmpeg"), "-hide_banner", "-i", path, "-af", "volumedetect", "-f", "null", "-")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`max_volume: (-?[\d.]+) dB`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no volume in\n%s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level < -30 {
		t.Errorf("%s: loudest %s dB, want beeps", path, m[1])
	}
}

// checkBeeps looks for what Chromium's fake microphone plays: twice a second a beep of a tenth of a second or so.
func checkBeeps(t *testing.T, path string) {
	t.Helper()
	pcm, err := run(t.Context(), program(t, "FFMPEG", "ffmpeg"), "-v", "error", "-i", path, "-ac", "1", "-ar", "8000", "-f", "s16le", "pipe:1")
	if err != nil {
		t.Fatal(err)
	}
	const window, step = 2 * 80, 10 // bytes, ms
	var starts, lengths []int       // ms
	loud, silent := false, 0
	for at := 0; at+window <= len(pcm); at += window {
		energy := 0.0
		for i := at; i < at+window; i += 2 {
			v := float64(int16(uint16(pcm[i]) | uint16(pcm[i+1])<<8))
			energy += v * v / (window / 2)
		}
		ms := at / window * step
		switch now := energy > 500*500; {
		case now && !loud:
			starts, lengths = append(starts, ms), append(lengths, step)
		case now:
			lengths[len(lengths)-1] += step
		case energy < 50*50:
			silent += step
		}
		loud = energy > 500*500
	}
	var apart []int
	for i := range starts[:max(0, len(starts)-1)] {
		apart = append(apart, starts[i+1]-starts[i])
	}
	slices.Sort(apart)
	slices.Sort(lengths)
	if len(starts) < 8 {
		t.Fatalf("%s: %d beeps, at %v ms", path, len(starts), starts)
	}
	period, length := apart[len(apart)/2], lengths[len(lengths)/2] // a busy machine may hold one or two up
	if period < 450 || period > 550 || length < 50 || length > 200 || silent < 3000 {
		t.Errorf("%s: beeps of %d ms every %d ms, at %v ms, %d ms of silence", path, length, period, starts, silent)
	}
}

// checkSnapshots opens pictures with a foreign program.
func checkSnapshots(t *testing.T, g *gatewayProcess, session string) {
	t.Helper()
	dir := t.TempDir()
	for ext, codec := range map[string]string{".jpg": "mjpeg", ".png": "png"} {
		path := filepath.Join(dir, "look"+ext)
		if _, err := g.worker(t, "snapshot", "--session="+session, "--user=ann", "--source=camera", "--width=160", "--height=120", "--out="+path); err != nil {
			t.Fatal(err)
		}
		if p := probe(t, path); fmt.Sprint(p.Codec, p.Width, p.Height) != fmt.Sprint(codec, 160, 120) {
			t.Errorf("snapshot: %+v, want %s of 160×120", p, codec)
		}
	}
}
