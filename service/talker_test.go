package service

import (
	"sync"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
)

// talker is a caller of Signal that keeps what the gateway says by itself.
type talker struct {
	*sfutest.StreamSignaller
	g *gateway

	mu    sync.Mutex
	sfu   *sfutest.SFU // gets the gateway's candidates
	heard []*penstockv1.SignalResponse
	news  chan struct{} // closed and renewed at each message
}

// talk returns a caller for a session, which has opened its conversation.
func (g *gateway) talk(session string) *talker {
	g.t.Helper()
	k := g.talker(session)
	k.open(0)
	return k
}

// talker returns a caller that has not opened yet. Its stream ends with the test.
func (g *gateway) talker(session string) *talker {
	k := &talker{g: g, news: make(chan struct{})}
	k.StreamSignaller = &sfutest.StreamSignaller{Client: g.sessions, SessionID: session, Hear: k.hear}
	g.t.Cleanup(k.Lose)
	return k
}

// open opens the conversation, again if need be, and forgets what was heard before.
func (k *talker) open(generation uint64) *penstockv1.Session {
	k.g.t.Helper()
	k.forget()
	s, err := k.Open(k.g.ctx, generation)
	must(k.g.t, err)
	return s
}

// hear keeps a message.
func (k *talker) hear(m *penstockv1.SignalResponse) {
	k.mu.Lock()
	k.heard = append(k.heard, m)
	close(k.news)
	k.news = make(chan struct{})
	sfu := k.sfu
	k.mu.Unlock()
	if c := m.GetCandidate(); c != nil && sfu != nil {
		if err := sfu.AddCandidate(c.GetGeneration(), sfutest.CandidateInit(c.GetCandidate())); err != nil {
			k.g.t.Error(err)
		}
	}
}

// forget forgets what was heard.
func (k *talker) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = nil
}

// all returns what was heard.
func (k *talker) all() []*penstockv1.SignalResponse {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heard[:len(k.heard):len(k.heard)]
}

// until waits for a message that is wanted, from the first that was heard on, and returns it.
func (k *talker) until(what string, wanted func(*penstockv1.SignalResponse) bool) *penstockv1.SignalResponse {
	k.g.t.Helper()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for seen := 0; ; {
		k.mu.Lock()
		heard, news := k.heard, k.news
		k.mu.Unlock()
		for ; seen < len(heard); seen++ {
			if wanted(heard[seen]) {
				return heard[seen]
			}
		}
		select {
		case <-news:
		case <-limit.C:
			k.g.t.Fatalf("%s: not within %v; heard %v", what, hang, k.all())
		}
	}
}

// state waits until a generation's connection is told to be in a state.
func (k *talker) state(generation uint64, s penstockv1.PeerConnectionState) {
	k.g.t.Helper()
	k.until(s.String(), func(m *penstockv1.SignalResponse) bool {
		c := m.GetConnectionState()
		return c.GetState() == s && c.GetGeneration() == generation
	})
}

// newSFU returns an SFU that talks over this conversation, and ends with the test.
func (k *talker) newSFU(c sfutest.Config) *sfutest.SFU {
	k.g.t.Helper()
	c.Signaller = k
	s, err := sfutest.New(c)
	must(k.g.t, err)
	k.g.t.Cleanup(func() { must(k.g.t, s.Close()) })
	k.mu.Lock()
	k.sfu = s
	k.mu.Unlock()
	return s
}

// frames counts pictures of a stream while other things happen.
type frames struct {
	t    *testing.T
	stop chan struct{}
	done chan struct{}

	mu        sync.Mutex
	last      uint64 // sequence number
	count     int
	restarted int // headers and gaps
	lost      uint64
	more      chan struct{}
}

// count reads a stream until stop is closed.
func (r *reader) count() *frames {
	f := &frames{t: r.t, stop: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(f.done)
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			m, err := r.stream.Recv()
			if err != nil {
				r.t.Error(err)
				return
			}
			f.take(m)
		}
	}()
	return f
}

// take counts one message.
func (f *frames) take(m *penstockv1.StreamTrackResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.GetHeader() != nil || m.GetEvent() != nil && m.GetEvent().GetQualityLimited() == nil { // the machine may be busy
		f.restarted++
	}
	v := m.GetVideo()
	if v == nil {
		return
	}
	if i := v.GetInfo(); i.GetSequence() <= f.last {
		f.t.Errorf("picture %d follows %d", i.GetSequence(), f.last)
	}
	f.last = v.GetInfo().GetSequence()
	f.lost += uint64(v.GetInfo().GetLostFrames())
	f.count++
	close(f.more)
	f.more = make(chan struct{})
}

// further waits for n more pictures.
func (f *frames) further(n int) {
	f.t.Helper()
	f.mu.Lock()
	want := f.count + n
	f.mu.Unlock()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for {
		f.mu.Lock()
		have, more := f.count, f.more
		f.mu.Unlock()
		if have >= want {
			return
		}
		select {
		case <-more:
		case <-f.done:
			f.t.Fatal("the stream has ended")
		case <-limit.C:
			f.t.Fatalf("%d pictures of %d", have, want)
		}
	}
}

// end stops counting and tells how often the stream was interrupted, and how many pictures were lost.
func (f *frames) end() (interrupted int, lost uint64) {
	close(f.stop)
	<-f.done
	return f.restarted, f.lost
}
