package service

import (
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// permission is what a call asks of its caller.
type permission struct {
	// actions are those of which the caller needs one; None asks only who it is.
	actions identity.Action
	// open asks nothing, not even who it is: probes have no credentials.
	open bool
	// pods is for pods only, which the interceptor of proofs has made sure of.
	pods bool
}

// permissions is the table of what each call asks. It is written nowhere but here; what is not in it is refused to everybody.
func permissions() map[string]permission {
	return map[string]permission{
		penstockv1.SessionService_CreateSession_FullMethodName:    {actions: identity.Signal},
		penstockv1.SessionService_GetSession_FullMethodName:       {actions: identity.All},
		penstockv1.SessionService_ListSessions_FullMethodName:     {actions: identity.Admin},
		penstockv1.SessionService_DeleteSession_FullMethodName:    {actions: identity.Signal | identity.Admin},
		penstockv1.SessionService_Negotiate_FullMethodName:        {actions: identity.Signal},
		penstockv1.SessionService_AddIceCandidate_FullMethodName:  {actions: identity.Signal},
		penstockv1.SessionService_UpdateIceServers_FullMethodName: {actions: identity.Signal},
		penstockv1.SessionService_ReportEvents_FullMethodName:     {actions: identity.Signal},
		penstockv1.SessionService_Signal_FullMethodName:           {actions: identity.Signal},

		penstockv1.TrackService_ResolveTrack_FullMethodName: {actions: identity.Stream},
		penstockv1.TrackService_ListTracks_FullMethodName:   {actions: identity.Stream | identity.Admin},
		penstockv1.TrackService_WatchTracks_FullMethodName:  {actions: identity.Stream | identity.Admin},
		penstockv1.TrackService_StreamTrack_FullMethodName:  {actions: identity.Stream},
		penstockv1.TrackService_GetFrame_FullMethodName:     {actions: identity.Stream},

		podv1.PodService_Adopt_FullMethodName:     {pods: true},                           // the owner itself asks
		podv1.PodService_GetEnd_FullMethodName:    {pods: true},                           // one that follows the session asks
		podv1.PodService_ServeWhip_FullMethodName: {pods: true, actions: identity.Signal}, // a publisher asks

		healthpb.Health_Check_FullMethodName: {open: true},
		healthpb.Health_Watch_FullMethodName: {open: true},
		healthpb.Health_List_FullMethodName:  {open: true},

		// The contract is no secret, but whoever may not call needs not read it here.
		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      {actions: identity.None},
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: {actions: identity.None},
	}
}

// sessionOf returns which session a message is about, and whether it is about one.
func sessionOf(m any) (id string, ok bool) {
	switch m := m.(type) {
	case *penstockv1.SignalRequest:
		return m.GetOpen().GetSessionId(), m.GetOpen() != nil
	case ofSession:
		return m.GetSessionId(), true
	}
	return "", false
}
