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

// message is a received message of which only the first field's number and the length are kept.
type message struct {
	field protowire.Number
	bytes int
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
		break
	}
	return nil
}
