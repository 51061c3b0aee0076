package rtcpool_test

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/rtcpool"
)

const hostileHead = "v=0\r\no=- 42 7 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"

const hostileAudio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\na=rtcp-mux\r\n"

// hostileOffers are made to cost more than they should. Those that are answered all the same are marked.
func hostileOffers() map[string]struct {
	text     string
	answered bool
} {
	type offer = struct {
		text     string
		answered bool
	}
	lines := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	one := hostileHead + "a=group:BUNDLE 0\r\n" + hostileAudio + "a=mid:0\r\n"
	return map[string]offer{
		"a hundred thousand media descriptions": {hostileHead + lines(100_000, func(i int) string {
			return fmt.Sprintf("m=audio 9 RTP/AVP 0\r\na=mid:%d\r\n", i)
		}), false},
		"ten megabytes of one line":  {one + "a=x:" + strings.Repeat("x", 10<<20) + "\r\n", false},
		"ten megabytes of lines":     {one + strings.Repeat("a=x\r\n", 2<<20), false},
		"invalid UTF-8":              {strings.ReplaceAll(one, "a=mid:0", "a=mid:\xc3\x28"), true},
		"duplicate mids":             {one + hostileAudio + "a=mid:0\r\n", false},
		"groups of groups":           {strings.Replace(one, "a=group:BUNDLE 0", lines(5000, func(int) string { return "a=group:BUNDLE 0 BUNDLE 0 group:BUNDLE\r\n" })+"a=group:BUNDLE 0", 1), true},
		"a group that never ends":    {strings.Replace(one, "BUNDLE 0", "BUNDLE 0"+strings.Repeat(" 0", 100_000), 1), true},
		"absurd payload types":       {strings.ReplaceAll(one, " 111", " 99999999999999999999 -1 4294967296"), false},
		"ten thousand formats":       {strings.ReplaceAll(one, "SAVPF 111", "SAVPF"+lines(10_000, func(i int) string { return fmt.Sprint(" ", i) })), false},
		"five thousand candidates":   {one + lines(5000, func(i int) string { return fmt.Sprintf("a=candidate:%d 1 udp 1 127.0.0.1 %d typ host\r\n", i, 1024+i) }), true},
		"candidates of rubbish":      {one + lines(5000, func(i int) string { return fmt.Sprintf("a=candidate:%d x y z\r\n", i) }), true},
		"sources without number":     {one + lines(20_000, func(i int) string { return fmt.Sprintf("a=ssrc:%d cname:c\r\n", i+1) }), true},
		"extensions without number":  {one + lines(5000, func(i int) string { return fmt.Sprintf("a=extmap:%d urn:x:%d\r\n", i%300, i) }), true},
		"layers without number":      {one + lines(5000, func(i int) string { return fmt.Sprintf("a=rid:%d send\r\n", i) }), true},
		"an endless identifier":      {one + "a=msid:" + strings.Repeat("s", 1<<19) + " t\r\n", true},
		"work that is a product":     {strings.ReplaceAll(one, "SAVPF 111", "SAVPF"+strings.Repeat(" 111", 128)) + strings.Repeat("a=x\r\n", 100_000), false},
		"numbers beyond all numbers": {strings.Replace(one, "o=- 42 7", "o=- "+strings.Repeat("9", 400)+" 7", 1), true},
	}
}

// TestHostileOffersHurtNobodyElse gives hostile offers to new sessions, and to one that runs: each is answered soon, refused or not, and
// another session's streams lose no packet.
func TestHostileOffersHurtNobodyElse(t *testing.T) {
	l := newLab(t)
	other := l.call("other")
	bystanders := []*sfutest.Track{other.track("alice", microphone, clips.AliceMicrophone()), other.track("alice", camera, clips.AliceCamera())}
	other.add(bystanders...)
	victim := l.call("victim")
	running := victim.track("bob", microphone, clips.BobMicrophone())
	before := victim.add(running)[0]
	for name, offer := range hostileOffers() {
		fresh, err := l.pool.Open(rtcpool.SessionConfig{ID: name, Observer: newObserved()})
		must(t, err)
		for _, s := range []*rtcpool.Session{fresh, victim.session} {
			failed := l.pool.Stats().Failed
			r, err := s.Negotiate(l.ctx, rtcpool.Offer{SDP: offer.text, Trickle: true})
			switch {
			case s == fresh && offer.answered && (err != nil || r.Answer == nil), s == fresh && !offer.answered && err == nil:
				t.Errorf("%s: %+v, %v", name, r, err)
			case err != nil && l.pool.Stats().Failed != failed+1:
				t.Errorf("%s: not counted", name)
			case err != nil && len(err.Error()) > 1000:
				t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
			}
			if offer.answered {
				break // it would be another call to the one that runs
			}
		}
		fresh.Close()
	}
	if now := victim.seen.now(before.ID); now != before {
		t.Errorf("was %+v, is %+v", before, now)
	}
	victim.account(running)
	other.account(bystanders...)
}

// TestFloodsHurtNobodyElse floods a session with offers and candidates from many callers: what is too much is refused and counted, memory
// stays bounded, and another session's streams lose no packet.
func TestFloodsHurtNobodyElse(t *testing.T) { // alone: it measures memory
	l := newLab(t)
	other := l.call("other")
	bystanders := []*sfutest.Track{other.track("alice", microphone, clips.AliceMicrophone()), other.track("alice", camera, clips.AliceCamera())}
	other.add(bystanders...)
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, silent.Close()) }()
	seen := newObserved()
	victim, err := l.pool.Open(rtcpool.SessionConfig{
		ID: "victim", Observer: seen, ICEServers: []rtcpool.ICEServer{{URLs: []string{"stun:" + silent.LocalAddr().String()}}},
	})
	must(t, err)
	base := heapInUse()
	const callers, each = 200, 5
	offer := func(version int) rtcpool.Offer {
		return rtcpool.Offer{SDP: strings.Replace(hostileHead, "42 7", fmt.Sprint("42 ", version), 1) +
			"a=group:BUNDLE 0\r\n" + hostileAudio + "a=mid:0\r\n"}
	}
	var answered, dropped, busy, candidates atomic.Uint64
	var calls sync.WaitGroup
	calls.Go(func() { // it gathers for as long as it may, and those behind it wait
		if r, err := victim.Negotiate(l.ctx, offer(1_000_000)); err != nil || r.Answer == nil {
			t.Errorf("%+v, %v", r, err)
		}
	})
	seen.until(t, "the first offer", func() bool { return len(seen.media) == 1 })
	for caller := range callers {
		calls.Go(func() {
			for i := range each {
				switch r, err := victim.Negotiate(l.ctx, offer(caller*each+i)); {
				case errors.Is(err, rtcpool.ErrBusy):
					busy.Add(1)
				case err != nil:
					t.Error(err)
				case r.Answer != nil:
					answered.Add(1)
				default:
					dropped.Add(1)
				}
			}
			for i := range 10 * each {
				c := rtcpool.Candidate{Candidate: fmt.Sprintf("candidate:%d 1 udp 1 192.0.2.%d %d typ host", i, caller, 1024+i)}
				if _, err := victim.AddCandidate(l.ctx, uint64(i%9), c); err == nil { //nolint:gosec // small
					candidates.Add(1)
				}
			}
		})
	}
	calls.Wait()
	st := l.pool.Stats()
	if answered.Load()+dropped.Load()+busy.Load() != callers*each || answered.Load() != 0 || dropped.Load() < 64 || busy.Load() == 0 || st.Busy != busy.Load() {
		t.Errorf("%d answered, %d dropped, %d busy of %d; %+v", answered.Load(), dropped.Load(), busy.Load(), callers*each, st)
	}
	if st.CandidatesAdded+st.CandidatesIgnored+st.CandidatesKept+st.CandidatesDropped < candidates.Load() || st.CandidatesIgnored == 0 || st.CandidatesAdded > 1024 {
		t.Errorf("%d candidates; %+v", candidates.Load(), st)
	}
	if grown := heapInUse() - base; grown > 64<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	other.account(bystanders...)
	done := make(chan struct{})
	go func() { victim.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Error("the session does not close")
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse) //nolint:gosec // far below
}
