package rtcpool

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"github.com/pion/stun/v4"
)

// refreshError is what a TURN server answers that refuses to refresh.
func refreshError(id [stun.TransactionIDSize]byte, code stun.ErrorCode) []byte {
	m := stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodRefresh, stun.ClassErrorResponse),
		stun.NewSoftware("odd"), stun.ErrorCodeAttribute{Code: code, Reason: []byte("no")})
	return m.Raw
}

func TestTURNWatchTellsRefusedRefreshes(t *testing.T) {
	for code, want := range map[stun.ErrorCode]bool{
		stun.CodeUnauthorized: true, stun.CodeForbidden: true, stun.CodeAllocMismatch: true, stun.CodeBadRequest: true,
		stun.CodeStaleNonce: false, // the client tries again with the new nonce
	} {
		told := 0
		w := turnWatch{refused: func(got int) {
			told++
			if got != int(code) {
				t.Errorf("code %d, want %d", got, code)
			}
		}}
		id := stun.NewTransactionID()
		w.wrote(stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodRefresh, stun.ClassRequest)).Raw)
		w.read(refreshError(id, code))
		if (told == 1) != want || len(w.open) != 0 {
			t.Errorf("code %d: told %d times, %d still open", code, told, len(w.open))
		}
		w.cancel()
		w.read(refreshError(id, code)) // nobody cares any more
		if told > 1 {
			t.Errorf("code %d: told after the end", code)
		}
	}
}

// Each open request gets one answer when the session ends, in the pieces that the reader takes.
func TestTURNWatchAnswersWhatIsOpen(t *testing.T) {
	var w turnWatch
	want := make(map[[stun.TransactionIDSize]byte]bool)
	for range 3 {
		id := stun.NewTransactionID()
		want[id] = true
		request := stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw
		w.wrote(request)
		w.wrote(request) // again: a retransmission
	}
	if n := w.answer(make([]byte, 100)); n != 0 {
		t.Errorf("%d bytes before the end", n)
	}
	w.cancel()
	var stream bytes.Buffer
	for piece := make([]byte, 5); ; {
		n := w.answer(piece)
		if n == 0 {
			break
		}
		stream.Write(piece[:n])
	}
	const size = stunHeaderBytes + 8
	for b := stream.Bytes(); len(b) > 0; b = b[size:] {
		m := &stun.Message{Raw: b[:size]}
		var code stun.ErrorCodeAttribute
		if err := errors.Join(m.Decode(), code.GetFrom(m)); err != nil || code.Code != stun.CodeServerError || !want[m.TransactionID] {
			t.Fatalf("%v, %v, %v", m, code, err)
		}
		delete(want, m.TransactionID)
	}
	if len(want) != 0 {
		t.Errorf("%d without an answer", len(want))
	}
}

// The client of a closed connection reads answers to what it waits for before it reads the end.
func TestTURNSocketAnswersAfterItsEnd(t *testing.T) {
	p := newTestPool(t, nil)
	n := p.network.newPeerNet(t.Context(), nil)
	conn, err := n.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	id := stun.NewTransactionID()
	request := stun.MustBuild(stun.NewTransactionIDSetter(id), stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw
	if _, err := conn.WriteTo(request, conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if _, _, err := conn.ReadFrom(b); err != nil { // our own request
		t.Fatal(err)
	}
	p.network.leave(n)
	size, _, err := conn.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if m := (&stun.Message{Raw: b[:size]}); m.Decode() != nil || m.TransactionID != id || m.Type.Class != stun.ClassErrorResponse {
		t.Errorf("%v", m)
	}
	if _, _, err := conn.ReadFrom(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("then %v", err)
	}
	if _, err := n.ListenPacket("udp4", "127.0.0.1:0"); !errors.Is(err, errPeerClosed) {
		t.Errorf("a socket after the end: %v", err)
	}
}

// FuzzTURNWatch gives it what servers may send.
func FuzzTURNWatch(f *testing.F) {
	f.Add(refreshError(stun.NewTransactionID(), stun.CodeUnauthorized))
	f.Add([]byte{})
	f.Add(refreshError(stun.NewTransactionID(), stun.CodeUnauthorized)[:25])
	f.Add(append(refreshError(stun.NewTransactionID(), stun.CodeForbidden), 0, 9, 0xFF, 0xFF))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := turnWatch{refused: func(code int) {
			if code <= 0 || code > 7*100+255 {
				t.Errorf("code %d", code)
			}
		}}
		w.wrote(b)
		w.read(b)
		w.cancel()
		if n := w.answer(make([]byte, 100)); n != 0 && len(w.open) > maxOpenRequests {
			t.Errorf("%d answered, %d open", n, len(w.open))
		}
	})
}

// FuzzReadRemote takes candidates as peers write them to where they lead.
func FuzzReadRemote(f *testing.F) {
	f.Add("candidate:1 1 udp 2130706431 127.0.0.1 9 typ host")
	f.Add("1 1 tcp 2130706431 ::ffff:169.254.169.254 65535 typ host tcptype passive")
	f.Add("candidate:1 1 udp 1 x.LOCAL. 9 typ host")
	f.Add("candidate:1 1 udp 1 fe80::1%eth0 9 typ srflx raddr 0.0.0.0 rport 0")
	f.Add("candidate:1 1 udp 1 10.0.0.1 99999999999 typ host")
	p := newPolicy(false, true, nil)
	f.Fuzz(func(t *testing.T, value string) {
		r, ok := readRemote(value)
		switch {
		case !ok:
		case (r.name == "") == !r.at.Addr().IsValid():
			t.Errorf("%q leads to %+v", value, r)
		case r.name == "":
			if got := p.judge(r.at.Addr(), r.at.Port()); got == RefusedNone && (r.at.Addr().IsLoopback() || r.at.Addr().IsPrivate()) {
				t.Errorf("%q may be used", value)
			}
		}
	})
}
