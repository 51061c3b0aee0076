package service

import penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"

// validateSignal checks what a request of a conversation says by itself, after open. It is not done where the requests of other calls are checked: a
// request that is wrong does not end the conversation.
func validateSignal(r *penstockv1.SignalRequest) error {
	var f, out faults
	prefix := ""
	switch m := r.GetMessage().(type) {
	case *penstockv1.SignalRequest_Offer:
		prefix = "offer."
		f.sdp(m.Offer.GetSdp())
	case *penstockv1.SignalRequest_Candidate:
		prefix = "candidate."
		f.candidate(m.Candidate.GetCandidate())
	case *penstockv1.SignalRequest_Events:
		prefix = "events."
		f.events(len(m.Events.GetEvents()))
	case *penstockv1.SignalRequest_IceServers:
		prefix = "ice_servers."
		f.iceServers(m.IceServers.GetIceServers())
	}
	for _, v := range f {
		out.add(prefix+v.field, "%s", v.text)
	}
	return out.err()
}
