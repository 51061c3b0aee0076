package service

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// unimplemented are the methods of the contract that a later version is to fill in. It may only get shorter.
var unimplemented = []string(nil)

// TestUnimplementedMethods asks for every method that reflection names, and finds exactly those of the list unimplemented.
func TestUnimplementedMethods(t *testing.T) {
	g := startGateway(t)
	var got []string
	for _, m := range reflectMethods(t, g) {
		name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
		err := callEmpty(g, name, m)
		if code := status.Code(err); code == codes.Unimplemented {
			got = append(got, name)
			wantStatus(t, err, codes.Unimplemented, "NOT_IMPLEMENTED")
		} else if code == codes.Internal || code == codes.Unknown {
			t.Errorf("%s: an empty request gives %v", name, err)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, unimplemented) {
		t.Errorf("unimplemented are %q, want %q", got, unimplemented)
	}
}

// callEmpty calls a method with an empty request and returns its status.
func callEmpty(g *gateway, name string, m protoreflect.MethodDescriptor) error {
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	desc := &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}
	stream, err := g.conn.NewStream(ctx, desc, name)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(dynamicpb.NewMessage(m.Input())); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(dynamicpb.NewMessage(m.Output()))
}

// reflectMethods returns all methods of penstock.v1 that the server's reflection tells.
func reflectMethods(t *testing.T, g *gateway) []protoreflect.MethodDescriptor {
	t.Helper()
	client, err := grpc_reflection_v1.NewServerReflectionClient(g.conn).ServerReflectionInfo(g.ctx)
	must(t, err)
	defer func() { must(t, client.CloseSend()) }()
	ask := func(r *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		must(t, client.Send(r))
		out, err := client.Recv()
		must(t, err)
		return out
	}
	services := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}).GetListServicesResponse().GetService()
	var out []protoreflect.MethodDescriptor
	for _, s := range services {
		if !strings.HasPrefix(s.GetName(), "penstock.v1.") {
			continue
		}
		files := ask(&grpc_reflection_v1.ServerReflectionRequest{
			MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s.GetName()},
		}).GetFileDescriptorResponse().GetFileDescriptorProto()
		for _, raw := range files {
			var file descriptorpb.FileDescriptorProto
			must(t, proto.Unmarshal(raw, &file))
			fd, err := protodesc.NewFile(&file, protoregistry.GlobalFiles)
			must(t, err)
			if sd := fd.Services().ByName(protoreflect.FullName(s.GetName()).Name()); sd != nil {
				for i := range sd.Methods().Len() {
					out = append(out, sd.Methods().Get(i))
				}
			}
		}
	}
	if len(out) < 13 {
		t.Fatalf("reflection tells %d methods", len(out))
	}
	return out
}

// TestHealth asks without credentials: overall, for each service, and for one that there is not.
func TestHealth(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Token = "secret" })
	client := grpc_health_v1.NewHealthClient(g.conn)
	for _, name := range []string{"", "penstock.v1.SessionService", "penstock.v1.TrackService"} {
		r, err := client.Check(g.ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
		must(t, err)
		if r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q is %v", name, r.GetStatus())
		}
	}
	if _, err := client.Check(g.ctx, &grpc_health_v1.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service is %v", err)
	}
}

// TestAuth shows that every call but health's needs the token, reflection's too.
func TestAuth(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Token = "secret" })
	for name, value := range map[string]string{
		"none": "", "wrong": "Bearer secre", "longer": "Bearer secrets", "scheme": "Basic secret", "bare": "secret", "empty": "Bearer ",
	} {
		ctx := g.ctx
		if value != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
		}
		for _, m := range []string{"/penstock.v1.SessionService/ListSessions", "/penstock.v1.TrackService/StreamTrack",
			grpc_reflection_v1.ServerReflection_ServerReflectionInfo_FullMethodName} {
			stream, err := g.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, m)
			must(t, err)
			if err := stream.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) { // It may be refused already.
				t.Fatal(err)
			}
			must(t, stream.CloseSend())
			t.Run(name+m, func(t *testing.T) {
				wantStatus(t, stream.RecvMsg(&emptypb.Empty{}), codes.Unauthenticated, "UNAUTHENTICATED")
			})
		}
	}
	ctx := metadata.AppendToOutgoingContext(g.ctx, "authorization", "bearer secret")
	if _, err := g.sessions.ListSessions(ctx, nil); err != nil {
		t.Errorf("the right token gives %v", err)
	}
}

// TestPermittedMessageSize sends a request beyond the limit.
func TestPermittedMessageSize(t *testing.T) {
	g := startGateway(t)
	conn := g.dial(grpc.WithTransportCredentials(insecure.NewCredentials()))
	defer conn.Close()
	big := dynamicpb.NewMessage((&descriptorpb.FileDescriptorProto{}).ProtoReflect().Descriptor())
	big.Set(big.Descriptor().Fields().ByName("name"), protoreflect.ValueOfString(strings.Repeat("x", maxRequest+1)))
	err := conn.Invoke(g.ctx, "/penstock.v1.SessionService/GetSession", big, dynamicpb.NewMessage(big.Descriptor()))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request beyond the limit gives %v", err)
	}
}
