package relay

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Message is a message as it is on the wire, in the buffers of the transport that it came by. Whoever holds it sends it once, or frees it once; Free is idempotent,
// and safe after it was sent. It is not safe for concurrent use otherwise.
//
// The zero Message is what to receive into.
type Message struct {
	data  mem.BufferSlice
	spent atomic.Bool
}

// NewMessage returns a message of bytes, which it takes over.
func NewMessage(data mem.BufferSlice) *Message { return &Message{data: data} }

// Len returns the message's size in bytes; 0 when it was sent or freed.
func (m *Message) Len() int {
	if m.spent.Load() {
		return 0
	}
	return m.data.Len()
}

// Head copies the first bytes of the message, as many as there are and fit, and returns how many. The message is left as it is.
func (m *Message) Head(to []byte) int {
	if m.spent.Load() {
		return 0
	}
	n := 0
	for _, b := range m.data {
		if n == len(to) {
			break
		}
		n += copy(to[n:], b.ReadOnlyData())
	}
	return n
}

// Text returns the value of a string field, which a path of field numbers leads to from the message inwards, and whether it is there. Of a field that is there more than once
// the last counts, as in any decoder. Messages of frames are not what it is for: a message in many buffers is copied.
func (m *Message) Text(path ...protowire.Number) (string, bool) {
	if m.spent.Load() || len(path) == 0 {
		return "", false
	}
	return textOf(m.data.Materialize(), path)
}

// textOf looks for a field in a message. Nested messages that are there more than once are merged, so that the last one in which the field is counts.
func textOf(b []byte, path []protowire.Number) (text string, found bool) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", false
		}
		b = b[n:]
		if number != path[0] || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return "", false
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return "", false
		}
		b = b[n:]
		if len(path) == 1 {
			text, found = string(v), true
		} else if inner, ok := textOf(v, path[1:]); ok {
			text, found = inner, true
		}
	}
	return text, found
}

// Decode decodes the message, which is left as it is. It is for small ones: it copies what lies in many buffers.
func (m *Message) Decode(into proto.Message) error {
	if m.spent.Load() {
		return errSent
	}
	if err := proto.Unmarshal(m.data.Materialize(), into); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// Free gives the buffers back, unless the message was sent.
func (m *Message) Free() {
	if m.spent.CompareAndSwap(false, true) {
		m.data.Free()
		m.data = nil
	}
}

// take hands the buffers over.
func (m *Message) take() (mem.BufferSlice, bool) {
	if !m.spent.CompareAndSwap(false, true) {
		return nil, false
	}
	data := m.data
	m.data = nil
	return data, true
}

// Codec returns a codec that passes a *Message as it is, both ways, and leaves everything else to base.
func Codec(base encoding.CodecV2) encoding.CodecV2 { return codec{base} }

// codec implements encoding.CodecV2.
type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2. The buffers of a Message are the caller's from then on, which gRPC frees.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	data, ok := m.take()
	if !ok {
		return nil, errSent
	}
	return data, nil
}

// Unmarshal implements encoding.CodecV2. A Message gets a reference of its own to the buffers; what it held before is freed.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	m.Free()
	data.Ref()
	m.data = append(mem.BufferSlice(nil), data...) // gRPC uses the slice itself again
	m.spent.Store(false)
	return nil
}
