package rtcpool_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/rtcpool"
)

// badOffer makes something unusable of a good offer of audio (mid 0) and video (mid 1).
type badOffer struct {
	name string
	make func(good string) string
}

func replacing(name, pattern, by string) badOffer {
	return badOffer{name, func(good string) string { return regexp.MustCompile(pattern).ReplaceAllString(good, by) }}
}

func appending(name, lines string) badOffer {
	return badOffer{name, func(good string) string { return good + strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n" }}
}

// badOffers is every way in which offers have been seen to be broken, and some more.
func badOffers() []badOffer {
	const another = "m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=rtpmap:111 opus/48000/2\na=rtcp-mux\n"
	return []badOffer{
		{"nothing", func(string) string { return "" }},
		{"no SDP", func(string) string { return "hello" }},
		{"JSON", func(good string) string { return `{"type":"offer","sdp":"` + good + `"}` }},
		{"no media", func(good string) string { head, _, _ := strings.Cut(good, "m="); return head }},
		{"cut in a line", func(good string) string { return good[:strings.Index(good, "m=")+4] }},
		{"bytes that are no text", func(good string) string { return strings.Replace(good, "a=mid:", "\xff\xfe=", 1) }},
		{"zeros", func(good string) string { return good + "a=\x00\x00\r\n\x00=\r\n" }},
		replacing("no mid", `a=mid:.*\r\n`, ""),
		replacing("the same mid twice", `a=mid:1`, "a=mid:0"),
		replacing("a mid beyond measure", `a=mid:1`, "a=mid:"+strings.Repeat("m", 300)),
		replacing("no ICE", `a=ice-.*\r\n`, ""),
		replacing("no password", `a=ice-pwd:.*\r\n`, ""),
		replacing("a short password", `a=ice-pwd:.*\r\n`, "a=ice-pwd:x\r\n"),
		replacing("a short fragment", `a=ice-ufrag:.*\r\n`, "a=ice-ufrag:x\r\n"),
		replacing("a fragment of blanks", `a=ice-ufrag:.*\r\n`, "a=ice-ufrag:a b c d\r\n"),
		replacing("no fingerprint", `a=fingerprint:.*\r\n`, ""),
		replacing("half a fingerprint", `a=fingerprint:\S+ `, "a=fingerprint:"),
		replacing("two kinds of one mid", `m=audio`, "m=video"),
		replacing("no payload types", `m=(audio|video) 9 (\S+) [^\r]*`, "m=$1 9 $2 "),
		replacing("payload types that are none", `m=(audio|video) 9 (\S+) [^\r]*`, "m=$1 9 $2 999 -1 x"),
		replacing("media of no kind", `m=(audio|video) `, "m= "),
		replacing("a port that is none", `m=audio 9`, "m=audio 99999999999"),
		replacing("a broken origin", `o=[^\r]*`, "o=-"),
		replacing("no origin", `o=[^\r]*\r\n`, ""),
		replacing("another version of SDP", `v=0`, "v=1"),
		appending("many formats", "m=audio 9 UDP/TLS/RTP/SAVPF"+strings.Repeat(" 1", 2000)+"\na=mid:9"),
		appending("a description without a mid", another),
		appending("a mid again", another+"a=mid:0"),
		appending("a thousand descriptions", strings.TrimSuffix(strings.Repeat(another+"a=mid:x\n", 1000), "\n")),
		appending("a line without a type", another+"a=mid:9\nrubbish"),
	}
}

// TestS17_BadOffersLeaveRunningStreamsAlone follows a good offer by bad ones of every kind, and by an answer that is lost: the
// running streams lose no packet, and the next full offer succeeds on the same generation.
func TestS17_BadOffersLeaveRunningStreamsAlone(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call")
	running := []*sfutest.Track{c.track("alice", microphone, clips.AliceMicrophone()), c.track("alice", camera, clips.AliceCamera())}
	before := c.add(running...)
	var watchers []*listener
	for i, m := range before {
		watchers = append(watchers, watching(t, running[i], m.Track))
	}
	refused := 0
	good, err := c.sfu.Offer(c.lab.ctx)
	must(t, err)
	for i, bad := range badOffers() {
		text := sfutest.WithVersion(good, sfutest.Version(good)+uint64(i)) //nolint:gosec // small
		text = bad.make(text)
		if text == good {
			t.Errorf("%s: nothing is changed", bad.name)
		}
		r, err := c.session.Negotiate(c.lab.ctx, rtcpool.Offer{SDP: text})
		var sdp *rtcpool.SDPError
		var failed *rtcpool.NegotiationError
		switch {
		case err == nil && r.Answer != nil:
			t.Logf("%s: answered, %d refused", bad.name, len(r.Answer.Rejected))
			continue
		case errors.As(err, &sdp), errors.As(err, &failed), errors.Is(err, rtcpool.ErrNoMedia):
			refused++
		default:
			t.Errorf("%s: %+v, %v", bad.name, r, err)
		}
		for _, m := range before {
			if now := c.seen.now(m.ID); now != m {
				t.Fatalf("%s: was %+v, is %+v", bad.name, m, now)
			}
		}
	}
	if refused < 25 {
		t.Errorf("%d offers were refused", refused)
	}
	next := c.track("bob", microphone, clips.BobMicrophone())
	c.sfu.LoseAnswer()
	if err := c.sfu.Add(c.lab.ctx, next); !errors.Is(err, sfutest.ErrAnswerLost) {
		t.Fatalf("%v", err)
	}
	must(t, c.sfu.Renegotiate(c.lab.ctx, false))
	c.flowing(next)
	c.account(append(running, next)...)
	for i, w := range watchers {
		w.only(markOf(running[i]))
		w.whole(0)
		if added, removed := c.seen.told(before[i].ID); added != 1 || removed != 0 {
			t.Errorf("%s: added %d times, removed %d times", before[i].StreamID, added, removed)
		}
	}
	if len(c.seen.record().restarts) != 0 || c.sfu.Generation() != 1 {
		t.Errorf("restarts %+v, generation %d", c.seen.record().restarts, c.sfu.Generation())
	}
	if n := c.lab.pool.Stats().Failed; n != uint64(refused) { //nolint:gosec // small
		t.Errorf("%d counted, %d refused", n, refused)
	}
}
