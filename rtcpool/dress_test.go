package rtcpool

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

// shapes are offers in the words of real SFUs, by name: testdata/offers holds them with blanks.
func shapes() []string { return []string{"chromium", "livekit", "stream", "janus", "mediasoup"} }

var versionLine = regexp.MustCompile(`o=(\S+) (\S+) \d+ IN`)

// shape reads an offer and fills its blanks.
func shape(t testing.TB, name string, blanks map[string]string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "offers", name+".sdp"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for key, value := range blanks {
		text = strings.ReplaceAll(text, "@"+key+"@", value)
	}
	return text
}

// nowhere fills the blanks of a shape for which there is no peer.
func nowhere() map[string]string {
	return map[string]string{
		"UFRAG": "abcd", "PWD": strings.Repeat("p", 24), "FINGERPRINT": strings.TrimSuffix(strings.Repeat("AB:", 32), ":"),
		"CANDIDATES": "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host", "STREAM": "alice", "AUDIO": "mic", "VIDEO": "cam",
		"AUDIO_SSRC": "1111", "VIDEO_SSRC": "2222", "VIDEO_RTX_SSRC": "3333",
	}
}

// dress gives the transport and the sources of a real offer, audio first and then video, to a shape.
func (f *testSFU) dress(name string) string {
	f.t.Helper()
	offer := f.offer(nil)
	blanks := map[string]string{
		"UFRAG": sdpAttribute(offer, "ice-ufrag"), "PWD": sdpAttribute(offer, "ice-pwd"),
		"FINGERPRINT": strings.TrimPrefix(sdpAttribute(offer, "fingerprint"), "sha-256 "),
		"STREAM":      "alice", "AUDIO": "mic", "VIDEO": "cam",
	}
	var candidates []string
	for _, m := range candidateLine.FindAllStringSubmatch(offer, -1) {
		candidates = append(candidates, "a="+m[1])
	}
	blanks["CANDIDATES"] = strings.Join(candidates, "\r\n")
	for _, sender := range f.pc.GetSenders() {
		encoding := sender.GetParameters().Encodings[0]
		key := strings.ToUpper(sender.Track().Kind().String()) + "_"
		blanks[key+"SSRC"], blanks[key+"RTX_SSRC"] = fmt.Sprint(encoding.SSRC), fmt.Sprint(encoding.RTX.SSRC)
	}
	return shape(f.t, name, blanks)
}

// undress makes of the answer to a shape one to the real offer: its audio and its video that are accepted.
func undress(answer string) string {
	head, rest, _ := strings.Cut(answer, "\r\nm=")
	out := regexp.MustCompile(`a=group:BUNDLE.*`).ReplaceAllString(head, "a=group:BUNDLE 0 1\r") + "\r\n"
	mid := 0
	for _, section := range strings.Split(rest, "\r\nm=") {
		if strings.HasPrefix(section, "application") || strings.HasPrefix(strings.Fields(section)[1], "0") {
			continue
		}
		section = regexp.MustCompile(`a=mid:[^\r]*`).ReplaceAllString(section, fmt.Sprint("a=mid:", mid))
		out += "m=" + strings.TrimRight(section, "\r\n") + "\r\n"
		mid++
	}
	return strings.ReplaceAll(out, "\r\r", "\r")
}

// TestS6_ShapesOfRealSFUs answers offers in the words of real SFUs to real peers, and media flow.
func TestS6_ShapesOfRealSFUs(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, nil)
	for _, name := range shapes() {
		t.Run(name, func(t *testing.T) {
			s, r := open(t, p, name)
			var options []func(*webrtc.API)
			if slices.Contains([]string{"livekit", "mediasoup"}, name) {
				settings := webrtc.SettingEngine{}
				settings.SetIncludeLoopbackCandidate(true)
				settings.SetLite(true)
				options = append(options, webrtc.WithSettingEngine(settings))
			}
			f := newTestSFU(t, options...)
			f.add(opus, "mic", "alice")
			f.add(vp8, "cam", "alice")
			text := f.dress(name)
			answer := answerTo(t, s, Offer{SDP: text})
			for _, rejected := range answer.Rejected {
				t.Errorf("rejected: %+v", rejected)
			}
			if strings.Contains(answer.SDP, "a=extmap:24") || strings.Contains(answer.SDP, "m=text") {
				t.Errorf("the answer has what nobody offered:\n%s", answer.SDP)
			}
			f.accept(undress(answer.SDP))
			for _, track := range []string{"mic", "cam"} {
				m := r.flowing(t, track)
				morePackets(t, m.Track, 20)
				if m.StreamID != "alice" {
					t.Errorf("%+v", m)
				}
			}
			if again := answerTo(t, s, Offer{SDP: text}); again != answer && again.SDP != answer.SDP {
				t.Errorf("another answer to the same offer:\n%s\n%s", answer.SDP, again.SDP)
			}
		})
	}
}
