package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// clientFlags say how to reach a gateway.
type clientFlags struct {
	Addr          string        `name:"addr" env:"PENSTOCK_ADDR" default:"127.0.0.1:50051" placeholder:"HOST:PORT" help:"The gateway's gRPC address."`
	TLS           bool          `name:"tls" env:"PENSTOCK_TLS" help:"Speak TLS."`
	CA            string        `name:"ca" env:"PENSTOCK_CA" placeholder:"FILE" help:"PEM file with the certificates to trust in place of the system's; means --tls."`
	Cert          string        `name:"cert" env:"PENSTOCK_CERT" placeholder:"FILE" help:"PEM file with the certificate chain to show; goes with --key, and means --tls."`
	Key           string        `name:"key" env:"PENSTOCK_KEY" placeholder:"FILE" help:"PEM file with the private key of --cert."`
	AuthToken     config.Secret `name:"auth-token" env:"PENSTOCK_AUTH_TOKEN" placeholder:"TOKEN" help:"Bearer token. Others on this machine can see a command line: prefer --auth-token-file."`
	AuthTokenFile string        `name:"auth-token-file" env:"PENSTOCK_AUTH_TOKEN_FILE" placeholder:"FILE" help:"File that holds the bearer token."`
	MaxMessage    int           `name:"max-message" env:"PENSTOCK_MAX_MESSAGE" default:"67108864" placeholder:"BYTES" help:"Largest message to accept; the gateway refuses pictures that do not fit."`
}

// dial returns a connection, which the caller must close. It connects on the first call.
func (c *clientFlags) dial() (*grpc.ClientConn, error) { return c.dialTo(c.Addr) }

// dialTo does the same to another address than the usual one.
func (c *clientFlags) dialTo(addr string) (*grpc.ClientConn, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	creds, err := c.credentials()
	if err != nil {
		return nil, err
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.MaxMessage)),
	}
	if token != "" {
		opts = append(opts, grpc.WithUnaryInterceptor(bearerUnary(token)), grpc.WithStreamInterceptor(bearerStream(token)))
	}
	conn, err := grpc.NewClient(addr, opts...)
	if err != nil {
		return nil, fmt.Errorf("--addr %q: %w", addr, err)
	}
	return conn, nil
}

func (c *clientFlags) token() (string, error) {
	if c.AuthTokenFile == "" {
		return string(c.AuthToken), nil
	}
	b, err := os.ReadFile(c.AuthTokenFile)
	if err != nil {
		return "", &config.Error{Setting: "auth-token-file", Problem: "cannot be read: " + err.Error(), Mend: "name a file that holds the token and that this user may read"}
	}
	return strings.TrimSpace(string(b)), nil
}

func (c *clientFlags) credentials() (credentials.TransportCredentials, error) {
	if !c.TLS && c.CA == "" && c.Cert == "" && c.Key == "" {
		return insecure.NewCredentials(), nil
	}
	cfg, err := clientTLS(c.Cert, c.Key)
	if err != nil {
		return nil, err
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, &config.Error{Setting: "--ca", Problem: "cannot be read: " + err.Error(), Mend: "name a PEM file"}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &config.Error{Setting: "--ca", Problem: fmt.Sprintf("%q holds no certificate", c.CA), Mend: "name a PEM file"}
		}
	}
	return credentials.NewTLS(cfg), nil
}

// bearerUnary sends the token with unary calls, over plain text too: whoever starts a gateway without TLS has closed
// the network by other means.
func bearerUnary(token string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(withBearer(ctx, token), method, req, reply, cc, opts...)
	}
}

// bearerStream sends the token with streaming calls.
func bearerStream(token string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return stream(withBearer(ctx, token), desc, cc, method, opts...)
	}
}

func withBearer(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// selectorFlags name a session and a track of it.
type selectorFlags struct {
	Session     string `name:"session" env:"PENSTOCK_SESSION" required:"" placeholder:"ID" help:"The session."`
	Track       string `name:"track" env:"PENSTOCK_TRACK" placeholder:"ID" xor:"who" help:"One track, by the id that 'gateway tracks' shows."`
	Participant string `name:"participant" env:"PENSTOCK_PARTICIPANT" placeholder:"ID" xor:"who" help:"The logical track of a participant; goes with --source."`
	User        string `name:"user" env:"PENSTOCK_USER" placeholder:"ID" xor:"who" help:"The logical track of a user; goes with --source."`
	Source      string `name:"source" env:"PENSTOCK_SOURCE" placeholder:"camera|microphone|screen-share|screen-share-audio" help:"What of the participant or user."`
}

func sources() map[string]penstockv1.Source {
	return map[string]penstockv1.Source{
		"camera":             penstockv1.Source_SOURCE_CAMERA,
		"microphone":         penstockv1.Source_SOURCE_MICROPHONE,
		"screen-share":       penstockv1.Source_SOURCE_SCREEN_SHARE,
		"screen-share-audio": penstockv1.Source_SOURCE_SCREEN_SHARE_AUDIO,
	}
}

// selector returns what the flags name, or a *config.Error.
func (f *selectorFlags) selector() (*penstockv1.TrackSelector, error) {
	if f.Track != "" {
		return &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_TrackId{TrackId: f.Track}}, nil
	}
	if f.Participant == "" && f.User == "" {
		return nil, &config.Error{Setting: "--track", Problem: "no track is named", Mend: "name one by --track, or by --source with --participant or --user; 'gateway tracks' lists them"}
	}
	source, ok := sources()[f.Source]
	if !ok {
		return nil, &config.Error{Setting: "--source", Problem: fmt.Sprintf("%q is not a source", f.Source), Mend: "use one of camera, microphone, screen-share, screen-share-audio"}
	}
	if f.Participant != "" {
		return &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
			Participant: &penstockv1.ParticipantTrack{ParticipantId: f.Participant, Source: source},
		}}, nil
	}
	return &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_User{
		User: &penstockv1.UserTrack{UserId: f.User, Source: source},
	}}, nil
}

// explain turns a call's error into what a person can act on: the code, the reason, the message, what is wrong in
// the request, and when to try again.
func explain(what, addr string, err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", what, st.Code())
	known := false
	var more []string
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			known = true
			fmt.Fprintf(&b, " (%s)", d.GetReason())
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				more = append(more, v.GetField()+": "+v.GetDescription())
			}
		case *errdetails.RetryInfo:
			more = append(more, "try again in "+d.GetRetryDelay().AsDuration().String())
		}
	}
	fmt.Fprintf(&b, ": %s", st.Message())
	for _, m := range more {
		b.WriteString("\n  " + m)
	}
	if !known && st.Code() == codes.Unavailable {
		fmt.Fprintf(&b, "\n  nothing answers at %s: start `gateway serve`, or name its address with --addr (and --tls where it speaks TLS)", addr)
	}
	return errors.New(b.String())
}
