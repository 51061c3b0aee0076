package rtcpool

import (
	"fmt"

	"github.com/pion/webrtc/v4"
)

var stateNames = [...]string{"new", "connecting", "connected", "disconnected", "failed", "closed"}

// String returns the state as W3C spells it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// String returns the reason in words.
func (r EndReason) String() string {
	switch r {
	case EndClosed:
		return "closed"
	case EndMediaLost:
		return "media lost"
	case EndRemoteClosed:
		return "closed by the other side"
	case EndSignallingLost:
		return "no offer"
	default:
		return fmt.Sprintf("end reason(%d)", uint8(r))
	}
}

// String returns the reason in words.
func (r DropReason) String() string {
	switch r {
	case DropClosed:
		return "closed"
	case DropStaleGeneration:
		return "stale generation"
	case DropSuperseded:
		return "superseded"
	default:
		return fmt.Sprintf("drop reason(%d)", uint8(r))
	}
}

func stateOf(s webrtc.PeerConnectionState) State {
	switch s {
	case webrtc.PeerConnectionStateConnecting:
		return StateConnecting
	case webrtc.PeerConnectionStateConnected:
		return StateConnected
	case webrtc.PeerConnectionStateDisconnected:
		return StateDisconnected
	case webrtc.PeerConnectionStateFailed:
		return StateFailed
	case webrtc.PeerConnectionStateClosed:
		return StateClosed
	default:
		return StateNew
	}
}
