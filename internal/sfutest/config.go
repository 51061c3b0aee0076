package sfutest

import (
	"fmt"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// Config is what an SFU needs.
type Config struct {
	// Signaller carries offers and events to the gateway. Required.
	Signaller Signaller
	// MSID is how tracks are named in the offers.
	MSID MSID
	// Generation is which of the SFU's peer connections the first one is; 0 is 1.
	Generation uint64
	// Network is beneath the peer connections; nil is one without faults. It is for one SFU.
	Network *Network
	// Trickle is when candidates are told. Other than TrickleOff, the Signaller must be a Trickler.
	Trickle Trickle
	// ICELite makes the SFU a lite ICE agent (RFC 8445 section 2.5): it answers checks and makes none.
	ICELite bool
	// Setup is the a=setup of offers (RFC 8842): "actpass" when empty. "active" makes the gateway the DTLS server.
	Setup string
	// WithoutSources leaves a=ssrc and a=ssrc-group out of offers; Packets.MID then tells which packet is whose.
	WithoutSources bool
	// WithoutRTX, WithoutNACK, WithoutTransportCC and WithoutREMB leave that feedback out of offers.
	WithoutRTX, WithoutNACK, WithoutTransportCC, WithoutREMB bool
	// FewCodecs offers only Opus, VP8 and H.264, with RTX: pion's negotiations take the square of the formats of all media descriptions.
	FewCodecs bool
	// Interceptors adds to what pion does with packets, nearest to the network; nil adds nothing. It is called for each generation.
	Interceptors func(*webrtc.MediaEngine, *interceptor.Registry) error
	// Mangle has the last word on every offer; nil leaves it. What it makes of it is not known to the SFU, whose answers must still fit.
	Mangle func(offer string) string
}

// complete fills in defaults and checks.
func (c *Config) complete() error {
	if c.Signaller == nil {
		return fmt.Errorf("%w: Signaller", ErrConfig)
	}
	if _, ok := c.Signaller.(Trickler); !ok && c.Trickle != TrickleOff {
		return fmt.Errorf("%w: Trickle needs a Signaller that is a Trickler", ErrConfig)
	}
	if c.Generation == 0 {
		c.Generation = 1
	}
	if c.Network == nil {
		c.Network = NewNetwork(0)
	}
	return nil
}

// edit brings an offer of pion's into the configured form.
func (c *Config) edit(d *description) {
	for _, m := range d.media {
		if c.MSID == MSIDNone {
			m.setMSID("", "")
		}
		if c.WithoutSources {
			m.withoutSources()
		}
		if c.WithoutRTX {
			m.withoutRTX()
		}
		if c.WithoutNACK {
			m.withoutFeedback("nack")
		}
		if c.WithoutREMB {
			m.withoutFeedback("goog-remb")
		}
		if c.WithoutTransportCC {
			m.withoutFeedback("transport-cc")
			m.withoutExtension(uriTransportCC)
		}
		if c.Setup != "" {
			m.remove("a=setup:")
			m.lines = append(m.lines, "a=setup:"+c.Setup)
		}
	}
}
