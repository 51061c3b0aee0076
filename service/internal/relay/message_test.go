package relay

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// split returns bytes in pooled buffers of a size.
func split(pool mem.BufferPool, b []byte, size int) mem.BufferSlice {
	var out mem.BufferSlice
	for part := range bytesIn(b, size) {
		out = append(out, mem.Copy(part, pool))
	}
	return out
}

// bytesIn yields b in parts.
func bytesIn(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(size, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// TestMessageIsGivenBackOnce: its buffers come back when it was freed, or when gRPC has freed what it was given to send; whatever comes after does nothing.
func TestMessageIsGivenBackOnce(t *testing.T) {
	pool := newBuffers(t)
	c := Codec(encoding.GetCodecV2(grpcproto.Name))
	whole := bytes.Repeat([]byte("0123456789"), 1000)

	freed := NewMessage(split(pool, whole, 4096))
	if freed.Len() != len(whole) {
		t.Errorf("%d bytes", freed.Len())
	}
	freed.Free()
	freed.Free()
	if _, err := c.Marshal(freed); err == nil || freed.Len() != 0 || freed.Head(make([]byte, 1)) != 0 {
		t.Errorf("it is there after it was freed: %v", err)
	}
	pool.allBack(t)

	sent := NewMessage(split(pool, whole, 4096))
	data, err := c.Marshal(sent)
	if err != nil || !bytes.Equal(data.Materialize(), whole) {
		t.Fatalf("%d bytes are sent, %v", data.Len(), err)
	}
	sent.Free() // too late
	if _, err := c.Marshal(sent); err == nil {
		t.Error("it is sent twice")
	}
	received := &Message{}
	if err := c.Unmarshal(data, received); err != nil {
		t.Fatal(err)
	}
	data.Free()
	if received.Len() != len(whole) {
		t.Errorf("%d bytes are received", received.Len())
	}
	again := split(pool, whole[:5000], 4096)
	if err := c.Unmarshal(again, received); err != nil { // what it held goes back
		t.Fatal(err)
	}
	again.Free()
	if received.Len() != 5000 {
		t.Errorf("%d bytes are received", received.Len())
	}
	received.Free()
}

// TestMessageShowsItsHead: the first bytes are copied out of however many buffers, and stay.
func TestMessageShowsItsHead(t *testing.T) {
	pool := newBuffers(t)
	whole := make([]byte, 10_000)
	for i := range whole {
		whole[i] = byte(i % 251)
	}
	m := NewMessage(split(pool, whole, 1500))
	defer m.Free()
	for _, n := range []int{0, 1, 1499, 1501, 9999, 10_000, 20_000} {
		head := make([]byte, n)
		if got := m.Head(head); got != min(n, len(whole)) || !bytes.Equal(head[:got], whole[:got]) {
			t.Errorf("of %d bytes came %d", n, got)
		}
	}
}

// TestCodecLeavesProtosAlone: a message of the contract goes as it always does.
func TestCodecLeavesProtosAlone(t *testing.T) {
	c := Codec(encoding.GetCodecV2(grpcproto.Name))
	if c.Name() != grpcproto.Name {
		t.Errorf("its name is %q", c.Name())
	}
	in := &penstockv1.GetSessionRequest{SessionId: "call"}
	b, err := c.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := &penstockv1.GetSessionRequest{}
	if err := c.Unmarshal(b, out); err != nil || !proto.Equal(in, out) {
		t.Errorf("%v became %v, %v", in, out, err)
	}
}

// TestTextFindsAField: at any depth, behind unknown fields, over the bounds of buffers; the last one counts.
func TestTextFindsAField(t *testing.T) {
	pool := newBuffers(t)
	b, err := proto.Marshal(&penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Open{Open: &penstockv1.SignalOpen{SessionId: "call"}}})
	if err != nil {
		t.Fatal(err)
	}
	unknown := protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), string(make([]byte, 3000)))
	path := openPath(t)
	for _, c := range []struct {
		b    []byte
		path []protowire.Number
		want string
		ok   bool
	}{
		{b, path, "call", true},
		{append(bytes.Clone(unknown), b...), path, "call", true},
		{append(bytes.Clone(b), protowire.AppendString(protowire.AppendTag(nil, path[0], protowire.BytesType), "\x0a\x01x")...), path, "x", true},
		{b, []protowire.Number{998, 1}, "", false},
		{b, nil, "", false},
		{append(bytes.Clone(b), 0xff), path, "", false},
		{nil, path, "", false},
	} {
		m := NewMessage(split(pool, c.b, 1100))
		if got, ok := m.Text(c.path...); got != c.want || ok != c.ok {
			t.Errorf("%x: %q, %v", c.b[max(len(c.b)-16, 0):], got, ok)
		}
		m.Free()
		if _, ok := m.Text(c.path...); ok {
			t.Error("it is there after it was freed")
		}
	}
}

// openPath is the way to the session's id in the first message of Signal.
func openPath(t testing.TB) []protowire.Number {
	t.Helper()
	field := (&penstockv1.SignalRequest{}).ProtoReflect().Descriptor().Fields().ByName("open")
	return []protowire.Number{field.Number(), 1}
}

// FuzzText: of what the contract's decoder takes, the peek says the same as it; of anything, it ends.
func FuzzText(f *testing.F) {
	path := openPath(f)
	for _, m := range []proto.Message{
		&penstockv1.StreamTrackRequest{SessionId: "call", MaxReceiveMessageBytes: 7},
		&penstockv1.SignalRequest{RequestId: 1, Message: &penstockv1.SignalRequest_Open{Open: &penstockv1.SignalOpen{SessionId: "call"}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Add([]byte{0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := NewMessage(mem.BufferSlice{mem.SliceBuffer(b)})
		defer m.Free()
		flat, _ := m.Text(1)
		m.Text(path...)
		stream, signal := &penstockv1.StreamTrackRequest{}, &penstockv1.SignalRequest{}
		if proto.Unmarshal(b, stream) == nil && stream.GetSessionId() != flat {
			t.Errorf("%q, the decoder says %q", flat, stream.GetSessionId())
		}
		if proto.Unmarshal(b, signal) != nil || signal.GetOpen() == nil {
			return
		}
		// A decoder forgets a member of a oneof when another one comes, so that only what it writes itself is compared.
		own, err := proto.Marshal(signal)
		if err != nil {
			t.Fatal(err)
		}
		if nested, _ := NewMessage(mem.BufferSlice{mem.SliceBuffer(own)}).Text(path...); nested != signal.GetOpen().GetSessionId() {
			t.Errorf("%q, the decoder says %q", nested, signal.GetOpen().GetSessionId())
		}
	})
}
