package metrics

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// encoder writes attributes as a=b,c=d.
type encoder struct{}

// Encode implements attribute.Encoder.
func (encoder) Encode(i attribute.Iterator) string {
	var all []string
	for i.Next() {
		a := i.Attribute()
		all = append(all, string(a.Key)+"="+a.Value.AsString())
	}
	return strings.Join(all, ",")
}

// ID implements attribute.Encoder.
func (encoder) ID() attribute.EncoderID { return attribute.NewEncoderID() }
