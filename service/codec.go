package service

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/service/internal/relay"
)

const (
	// payloadField is the number of payload in AudioFrame and VideoFrame. It is their last field, so that the
	// payload's bytes are the last of the message.
	payloadField protowire.Number = 15
	// copyLimit is the largest payload that is copied behind its header, in bytes. Below it one pooled buffer is
	// cheaper than a buffer for each part, and the payload's memory goes back at once. It must not be below gRPC's
	// pooling threshold of 1 KiB, under which mem.NewBuffer drops its pool and would never give the payload back.
	copyLimit = 4 << 10
)

// payload is the bytes of a frame: a *media.Payload, of which the holder has one reference.
type payload interface {
	// Parts returns the bytes, in order, which may be read until Release.
	Parts() [][]byte
	// Len returns the number of bytes in all parts.
	Len() int
	// Release gives the reference back. It must be called once; a payload that is garbage collected gives its memory
	// back all the same.
	Release()
}

var _ payload = (*media.Payload)(nil)

// frameMessage is a message whose frame has its payload beside it: on the wire envelope's fields, then the field
// that holds frame, whose last field is the payload. It owns one reference to the payload until it is marshalled, which
// can be done once.
type frameMessage struct {
	envelope proto.Message // nil when the frame is all there is
	field    protowire.Number
	frame    proto.Message // an AudioFrame or VideoFrame without payload
	payload  payload
}

// release gives up the payload of a message that was not marshalled. It is idempotent.
func (m *frameMessage) release() {
	if p := m.payload; p != nil {
		m.payload = nil
		p.Release()
	}
}

// payloadCodec is gRPC's own codec for everything but a frameMessage, whose payload it hands to the transport
// without a copy, and a *relay.Message, which passes as it is.
type payloadCodec struct{ encoding.CodecV2 }

// newCodec returns the codec that is to be forced upon a server.
func newCodec() encoding.CodecV2 {
	return payloadCodec{relay.Codec(encoding.GetCodecV2(grpcproto.Name))}
}

// Unmarshal implements encoding.CodecV2. What is received keeps the fault, which then is no error of the transport's.
func (c payloadCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(*received); ok {
		r.fault = c.CodecV2.Unmarshal(data, r.message)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// Marshal implements encoding.CodecV2. The payload of a frameMessage belongs to what it returns, even on an error.
func (c payloadCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*frameMessage)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	p := m.payload
	if p == nil {
		return nil, errSpent
	}
	m.payload = nil
	if p.Len() <= copyLimit {
		defer p.Release()
		header, err := m.header(p.Len(), p.Len())
		if err != nil {
			return nil, err
		}
		for _, part := range p.Parts() {
			*header = append(*header, part...)
		}
		return mem.BufferSlice{mem.NewBuffer(header, mem.DefaultBufferPool())}, nil
	}
	header, err := m.header(p.Len(), 0)
	if err != nil {
		p.Release()
		return nil, err
	}
	return withPayload(mem.NewBuffer(header, mem.DefaultBufferPool()), p), nil
}

// header returns all bytes before those of a payload of the given size, in a buffer with room for more.
func (m *frameMessage) header(size, room int) (*[]byte, error) {
	marshal := proto.MarshalOptions{UseCachedSize: true} // Size is called just before, and nobody changes the messages.
	outer := 0
	if m.envelope != nil {
		outer = proto.Size(m.envelope)
	}
	inner := proto.Size(m.frame)
	total := inner
	if size > 0 {
		total += protowire.SizeTag(payloadField) + protowire.SizeBytes(size)
	}
	buf := headerBuffer(outer + protowire.SizeTag(m.field) + protowire.SizeBytes(total) - size + room)
	b := (*buf)[:0]
	var err error
	if m.envelope != nil {
		b, err = marshal.MarshalAppend(b, m.envelope)
	}
	if err == nil {
		b = protowire.AppendTag(b, m.field, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(total))
		b, err = marshal.MarshalAppend(b, m.frame)
	}
	if err != nil {
		return nil, fmt.Errorf("service: marshalling %T: %w", m.frame, err)
	}
	if size > 0 {
		b = protowire.AppendTag(b, payloadField, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
	}
	*buf = b
	return buf, nil
}

// headerBuffer returns a buffer of at least so many bytes: a pooled one only if gRPC will put it back.
func headerBuffer(size int) *[]byte {
	if mem.IsBelowBufferPoolingThreshold(size) {
		b := make([]byte, 0, size)
		return &b
	}
	return mem.DefaultBufferPool().Get(size)
}
