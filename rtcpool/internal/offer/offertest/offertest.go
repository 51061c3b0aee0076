// Package offertest writes offers for the tests of what reads them.
package offertest

import (
	"fmt"
	"strings"
)

// Head is an offer (RFC 8866) up to its first media description.
const Head = "v=0\r\no=- 42 7 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"

// Media descriptions without their "m=" and a=mid, as [Of] takes them.
const (
	Audio = "audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\na=rtcp-mux\r\n"
	Video = "video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\na=rtcp-mux\r\n"
	VP9   = "video 9 UDP/TLS/RTP/SAVPF 98\r\na=rtpmap:98 VP9/90000\r\na=sendonly\r\na=rtcp-mux\r\n"
	H261  = "video 9 UDP/TLS/RTP/SAVPF 98\r\na=rtpmap:98 H261/90000\r\na=sendonly\r\na=rtcp-mux\r\n"
	Text  = "text 9 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 t140/1000\r\na=sendonly\r\n"
	Data  = "application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n"
)

// Of writes an offer of media descriptions, all in one bundle (RFC 9143), whose mids are their indexes.
func Of(sections ...string) string {
	group := "a=group:BUNDLE"
	for i := range sections {
		group += fmt.Sprintf(" %d", i)
	}
	text := Head + group + "\r\n"
	for i, s := range sections {
		name, attributes, _ := strings.Cut(s, "\r\n")
		text += "m=" + name + "\r\nc=IN IP4 0.0.0.0\r\n" + fmt.Sprintf("a=mid:%d\r\n", i) + attributes
	}
	return text
}
