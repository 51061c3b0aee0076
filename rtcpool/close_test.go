package rtcpool

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

func TestS14_CloseIsIdempotentAndConcurrent(t *testing.T) {
	p := newTestPool(t, nil)
	for round := range 20 {
		s, r := open(t, p, "same id each time")
		f := newTestSFU(t)
		f.add(vp8, "cam", "alice")
		f.negotiate(s, 0)
		if round%2 == 0 {
			r.flowing(t, "cam")
		}
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(s.Close)
		}
		within(t, s.Done(), "the end")
		calls.Wait()
		s.Close()
		if len(r.told().ended) != 1 || r.told().ended[0] != EndClosed || len(r.told().media) != 0 {
			t.Fatalf("ended %v, media %v", r.told().ended, r.media)
		}
		f.close()
	}
	if n := p.Stats(); n.PeerConnections != 0 || n.Sessions != 0 {
		t.Errorf("left: %+v", n)
	}
}

func TestS15_SessionThatIsNeverOfferedTo(t *testing.T) {
	p := newTestPool(t, func(c *Config) { c.Grace = 50 * time.Millisecond })
	s, r := open(t, p, "never offered")
	within(t, s.Done(), "the end")
	if r.told().ended[0] != EndSignallingLost {
		t.Errorf("ended: %v", r.told().ended)
	}
}

func TestS15_SessionThatNeverConnects(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, func(c *Config) { c.Grace = 2 * time.Second })
	s, r := open(t, p, "s")
	mustAnswer(t, s, offertest.Of(offertest.Audio))
	within(t, s.Done(), "the end")
	if r.told().ended[0] != EndMediaLost {
		t.Errorf("ended: %v", r.told().ended)
	}
}

func TestS15_RemoteCloseIsReportedAndAnOfferBringsItBack(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, func(c *Config) { c.Grace = 6 * time.Second })
	s, r := open(t, p, "s")
	first, second := newTestSFU(t), newTestSFU(t)
	first.add(vp8, "cam", "alice")
	first.negotiate(s, 0)
	r.flowing(t, "cam")
	if err := first.pc.Close(); err != nil {
		t.Fatal(err)
	}
	r.until(t, "closed and empty", func() bool {
		states := r.states[1]
		return len(states) > 0 && states[len(states)-1] == StateClosed && len(r.media) == 0
	})
	second.add(vp8, "again", "alice")
	second.negotiate(s, 0)
	r.flowing(t, "again")
	if err := second.pc.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, s.Done(), "the end")
	if r.told().ended[0] != EndRemoteClosed {
		t.Errorf("ended: %v", r.told().ended)
	}
}

func TestS15_RemoteCloseEndsASessionThatAsksForIt(t *testing.T) {
	p := newTestPool(t, nil)
	r := newRecorder()
	s, err := p.Open(SessionConfig{ID: "s", Observer: r, EndOnRemoteClose: true})
	if err != nil {
		t.Fatal(err)
	}
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "cam")
	if err := f.pc.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, s.Done(), "the end")
	if ended := r.told().ended; len(ended) != 1 || ended[0] != EndRemoteClosed {
		t.Errorf("ended: %v", ended)
	}
}

// The other side of the offer does not exist: ICE never connects.
func TestS14_ManySessionsThatNeverConnect(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, nil)
	for i := range 200 {
		s, r := open(t, p, fmt.Sprint(i))
		mustAnswer(t, s, offertest.Of(offertest.Audio, offertest.Video))
		if i%10 != 9 {
			continue // ten at a time are closed together
		}
		for k := i - 9; k <= i; k++ {
			p.Session(fmt.Sprint(k)).Close()
		}
		if ended := r.told().ended; len(ended) != 1 {
			t.Fatalf("ended: %v", ended)
		}
	}
	if st := p.Stats(); st.Sessions != 0 || st.PeerConnections != 0 {
		t.Errorf("left: %+v", st)
	}
}

// TestMediaIDsAreNeverUsedAgain: also not by another process, in which a session may go on.
func TestMediaIDsAreNeverUsedAgain(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 2 {
		p := newTestPool(t, nil)
		for range 100 {
			id := p.newMediaID()
			if seen[id] {
				t.Fatalf("%q is given twice", id)
			}
			seen[id] = true
		}
	}
}
