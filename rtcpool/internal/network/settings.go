package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// ReceiveMTU is how many bytes the largest packet that is read may have.
const ReceiveMTU = 2048

// BareSettings returns pion's settings for a peer connection that is never to connect.
func (w *Network) BareSettings(n *Peer) webrtc.SettingEngine {
	settings := webrtc.SettingEngine{LoggerFactory: w.logs}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled) // names are resolved by LookUpName
	settings.SetNet(n)
	return settings
}

// Settings returns pion's settings for one peer connection. What the configuration could make fail New has tried.
func (w *Network) Settings(n *Peer) (webrtc.SettingEngine, error) {
	settings := w.BareSettings(n)
	settings.SetReceiveMTU(ReceiveMTU)
	settings.SetIncludeLoopbackCandidate(w.cfg.Loopback)
	// The reader must see the very first packet: pion would give up a track whose first payload type it does not know.
	settings.SetFireOnTrackBeforeFirstRTP(true)
	settings.SetICEProxyDialer(n)
	w.setConsent(&settings)
	w.setFilters(&settings)
	w.setTransports(&settings, n)
	if w.cfg.UDPPortMin != 0 || w.cfg.UDPPortMax != 0 {
		if err := settings.SetEphemeralUDPPortRange(w.cfg.UDPPortMin, w.cfg.UDPPortMax); err != nil {
			return settings, fmt.Errorf("UDPPortMin %d, UDPPortMax %d: %w", w.cfg.UDPPortMin, w.cfg.UDPPortMax, err)
		}
	}
	return settings, w.setAnnounced(&settings)
}

// setConsent says how soon the loss of the other side is noticed. Whatever comes from it counts as a sign of life, so that only
// a silent connection needs the checks: four within the time after which it is disconnected, of which any may be lost.
func (w *Network) setConsent(settings *webrtc.SettingEngine) {
	disconnected := w.cfg.ConsentTimeout / 3
	settings.SetICETimeouts(disconnected, w.cfg.ConsentTimeout-disconnected, disconnected/4)
}

// setFilters narrows down local and remote addresses.
func (w *Network) setFilters(settings *webrtc.SettingEngine) {
	if w.cfg.filters() {
		settings.SetInterfaceFilter(w.cfg.takesInterface)
		settings.SetIPFilter(func(ip net.IP) bool {
			addr, ok := netip.AddrFromSlice(ip)
			return ok && w.cfg.takesAddress(addr)
		})
	}
	// What is signalled was judged before, with its port: this meets peer-reflexive candidates.
	settings.SetRemoteIPFilter(func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		return ok && w.count(w.policy.judge(addr, 0)) == RefusedNone
	})
}

// setTransports says which kinds of candidates are gathered, and on which sockets.
func (w *Network) setTransports(settings *webrtc.SettingEngine, n *Peer) {
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4}
	if !w.cfg.DisableIPv6 {
		types = append(types, webrtc.NetworkTypeUDP6)
	}
	if w.tcp != nil {
		settings.SetICETCPMux(w.tcp)
		types = append(types, webrtc.NetworkTypeTCP4)
		if !w.cfg.DisableIPv6 {
			types = append(types, webrtc.NetworkTypeTCP6)
		}
	}
	settings.DisableActiveTCP(true)
	settings.SetNetworkTypes(types)
	if n.shared != nil {
		settings.SetICEUDPMux(n.shared.mux)
	}
}

func (w *Network) setAnnounced(settings *webrtc.SettingEngine) error {
	for _, text := range w.cfg.AnnouncedIPs {
		if ip, err := netip.ParseAddr(text); err != nil || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("AnnouncedIPs: %q is not an address that others can reach", text)
		}
	}
	if len(w.cfg.AnnouncedIPs) == 0 {
		return nil
	}
	rule := webrtc.ICEAddressRewriteRule{External: w.cfg.AnnouncedIPs, AsCandidateType: webrtc.ICECandidateTypeHost}
	if err := settings.SetICEAddressRewriteRules(rule); err != nil {
		return fmt.Errorf("AnnouncedIPs: %w", err)
	}
	return nil
}
