package rtcpool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// FuzzOffer gives offers to a new session and to one that runs: whatever parses is answered or refused, the same offer gets the same
// answer, a full offer succeeds afterwards, and nothing is left behind.
func FuzzOffer(f *testing.F) {
	f.Add(offertest.Of(offertest.Audio, offertest.Video, offertest.H261, offertest.Text, offertest.Data))
	f.Add(offertest.Of(offertest.Video + "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=999\r\na=extmap:x y\r\na=extmap:1 :%zz\r\n"))
	f.Add(offertest.Of(offertest.Video + "a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;~h\r\na=extmap:99999999999 urn:x\r\n"))
	f.Add(offertest.Of(offertest.Video + "a=ssrc-group:FID 1 2\r\na=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\na=ssrc-group:SIM 1 2 3\r\n"))
	f.Add(strings.ReplaceAll(offertest.Of(offertest.Audio), "sha-256 ", "sha-0 "))
	for _, name := range shapes() {
		f.Add(shape(f, name, nowhere()))
	}
	good := shape(f, "chromium", nowhere())
	f.Fuzz(func(t *testing.T, text string) {
		p := newTestPool(t, func(c *Config) { c.GatherTimeout = 10 * time.Millisecond })
		for _, first := range []string{"", good} {
			s, r := open(t, p, "s")
			if first != "" {
				answerTo(t, s, Offer{SDP: first, Trickle: true})
			}
			fuzzOffer(t, s, text)
			last := versionLine.ReplaceAllString(good, "o=another 43 9 IN")
			if a := answerTo(t, s, Offer{Generation: 2, SDP: last, Trickle: true}); strings.Count(a.SDP, "\r\nm=") != 2 {
				t.Errorf("the offer after it:\n%s", a.SDP)
			}
			s.Close()
			if told := r.told(); len(told.ended) != 1 || len(told.media) != 0 {
				t.Errorf("ended %v, media %v", told.ended, told.media)
			}
		}
	})
}

func fuzzOffer(t *testing.T, s *Session, text string) {
	t.Helper()
	var before *Answer
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		res, err := s.Negotiate(ctx, Offer{SDP: text})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("no answer within %v", hang)
		}
		if err == nil && (res.Answer == nil) == (res.Drop == nil) {
			t.Errorf("%+v", res)
		}
		if res.Answer == nil {
			continue
		}
		if o, err := offer.Parse(text, defaultMaxSDPBytes); err != nil || strings.Count("\n"+res.Answer.SDP, "\nm=") != len(o.Sections) {
			t.Errorf("offer:\n%s\nanswer:\n%s", text, res.Answer.SDP)
		}
		if before != nil && before.CandidatesComplete && before.SDP != res.Answer.SDP {
			t.Errorf("another answer:\n%s\n%s", before.SDP, res.Answer.SDP)
		}
		before = res.Answer
	}
}

// FuzzCandidate gives candidates to a session before and after its offer.
func FuzzCandidate(f *testing.F) {
	for _, seed := range []string{
		"", "candidate:", "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host ufrag abcd", "candidate:1 1 tcp 1 ::1 9 typ host tcptype active",
		"a=candidate:x", "candidate:1 1 udp 1 169.254.169.254 80 typ host", "candidate:1 1 udp 1 x.local 9 typ host",
		"candidate:1 1 udp 1 1.2.3.4 0 typ relay raddr 0.0.0.0 rport 0 generation 0 network-cost 999",
	} {
		f.Add(seed, "0", "abcd", uint64(1))
	}
	good := shape(f, "chromium", nowhere())
	f.Fuzz(func(t *testing.T, text, mid, ufrag string, generation uint64) {
		p := newTestPool(t, nil)
		s, r := open(t, p, "s")
		c := Candidate{Candidate: text, MID: &mid, UsernameFragment: &ufrag}
		for _, c := range []Candidate{c, {Candidate: text}} {
			if got := give(t, s, generation, c); got != CandidateKept && got != CandidateIgnored {
				t.Errorf("before the offer: %v", got)
			}
		}
		answerTo(t, s, Offer{SDP: good, Trickle: true})
		for _, c := range []Candidate{c, {Candidate: text}} {
			if got := give(t, s, 1, c); got < CandidateAdded || got > CandidateDropped {
				t.Errorf("after the offer: %v", got)
			}
		}
		s.Close()
		if got := give(t, s, 1, c); got != CandidateDropped || len(r.told().ended) != 1 {
			t.Errorf("after the end: %v", got)
		}
	})
}
