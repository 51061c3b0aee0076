package main

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Numbers of the fields of StreamTrackResponse.
const (
	fieldAudio protowire.Number = 2
	fieldVideo protowire.Number = 3
)

// message is a received message of which only the first field's number, the length and the time of arrival are kept.
type message struct {
	field    protowire.Number
	bytes    int
	received int64 // when its last packet arrived at the gateway, in Unix nanoseconds; 0 is unknown
}

// Numbers of the fields that lead to the time of arrival: of both frames, and of FrameInfo.
const (
	fieldInfo     protowire.Number = 1
	fieldReceived protowire.Number = 6
)

// receivedOf finds the time of arrival in the beginning of a frame's message. What it does not find is 0.
func receivedOf(b []byte) int64 {
	_, _, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0
	}
	b = b[n:]
	if _, n = protowire.ConsumeVarint(b); n < 0 { // the frame's length, of which more than is here
		return 0
	}
	for b = b[n:]; len(b) > 0; {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if field == fieldInfo {
			info, _ := protowire.ConsumeBytes(b)
			return varintOf(info, fieldReceived)
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}

// varintOf returns a field of a message, or 0.
func varintOf(b []byte, wanted protowire.Number) int64 {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if field == wanted && kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			return int64(v) //nolint:gosec // it was one when it was sent
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}

// discardCodec sends protobuf, and of what it receives looks at the first tag only: the worker shall cost as little as it can,
// for it runs on the cores of the process that is measured.
type discardCodec struct{}

func (discardCodec) Name() string { return "proto" }

func (discardCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: %T is no protobuf message", errChild, v)
	}
	b, err := proto.Marshal(m)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (discardCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("%w: %T is no message to be discarded", errChild, v)
	}
	*m = message{bytes: data.Len()}
	for _, buffer := range data {
		if buffer.Len() == 0 {
			continue
		}
		// The fields of the oneof have numbers below 16: their tags are one byte.
		field, _, n := protowire.ConsumeTag(buffer.ReadOnlyData()[:1])
		if n < 0 {
			return fmt.Errorf("%w: the first tag of a message: %w", errChild, protowire.ParseError(n))
		}
		m.field = field
		if field == fieldAudio || field == fieldVideo {
			m.received = receivedOf(buffer.ReadOnlyData())
		}
		break
	}
	return nil
}
