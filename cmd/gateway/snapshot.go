package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// snapshotCmd writes one picture.
type snapshotCmd struct {
	clientFlags   `embed:""`
	selectorFlags `embed:""`
	Out           string        `name:"out" env:"PENSTOCK_OUT" short:"o" default:"snapshot.jpg" placeholder:"FILE" help:"Where to write it: .jpg or .png."`
	Width         uint32        `name:"width" env:"PENSTOCK_WIDTH" placeholder:"PIXELS" help:"Largest width; 0 is as received."`
	Height        uint32        `name:"height" env:"PENSTOCK_HEIGHT" placeholder:"PIXELS" help:"Largest height; 0 is as received."`
	Quality       uint32        `name:"quality" env:"PENSTOCK_QUALITY" placeholder:"1..100" help:"JPEG quality; 0 is the gateway's default."`
	Wait          time.Duration `name:"wait" env:"PENSTOCK_WAIT" default:"30s" placeholder:"DURATION" help:"How long to wait for the picture."`
}

// Run implements the command.
func (c *snapshotCmd) Run(ctx context.Context, std *stdio) error {
	selector, err := c.selector()
	if err != nil {
		return err
	}
	format := &penstockv1.VideoFormat{Width: c.Width, Height: c.Height, JpegQuality: c.Quality}
	ext := strings.ToLower(filepath.Ext(c.Out))
	switch ext {
	case ".jpg", ".jpeg":
		format.PixelFormat = penstockv1.PixelFormat_PIXEL_FORMAT_JPEG
	case ".png":
		format.PixelFormat = penstockv1.PixelFormat_PIXEL_FORMAT_RGB24
	default:
		return &config.Error{Setting: "--out", Problem: fmt.Sprintf("unknown extension %q", ext), Mend: "use .jpg or .png"}
	}
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	resp, err := penstockv1.NewTrackServiceClient(conn).GetFrame(ctx, &penstockv1.GetFrameRequest{
		SessionId: c.Session, Selector: selector, Format: format,
		MaxReceiveMessageBytes: uint32(c.MaxMessage), //nolint:gosec // gRPC takes no more
	})
	if err != nil {
		return explain("snapshot", c.Addr, err)
	}
	return writePicture(std, c.Out, ext, resp.GetFrame())
}

func writePicture(std *stdio, path, ext string, f *penstockv1.VideoFrame) error {
	file := f.GetPayload()
	if ext == ".png" {
		var err error
		if file, err = encodePNG(f); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, file, 0o644); err != nil { //nolint:gosec // a picture that the caller asked for
		return fmt.Errorf("snapshot: %w", err)
	}
	_, err := fmt.Fprintf(std.Out, "%s: %d×%d, %d bytes\n", path, f.GetWidth(), f.GetHeight(), len(file))
	return err
}

// encodePNG makes a PNG file of an RGB24 picture.
func encodePNG(f *penstockv1.VideoFrame) ([]byte, error) {
	width, height := int(f.GetWidth()), int(f.GetHeight())
	if len(f.GetPlanes()) != 1 {
		return nil, fmt.Errorf("snapshot: the gateway sent %d planes in place of RGB", len(f.GetPlanes()))
	}
	offset, stride, src := int(f.GetPlanes()[0].GetOffset()), int(f.GetPlanes()[0].GetStride()), f.GetPayload()
	if width < 1 || height < 1 || stride < 3*width || offset+stride*(height-1)+3*width > len(src) {
		return nil, fmt.Errorf("snapshot: %d bytes are too few for %d×%d", len(src), width, height)
	}
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		row, out := src[offset+y*stride:], img.Pix[y*img.Stride:]
		for x := range width {
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = row[3*x], row[3*x+1], row[3*x+2], 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("snapshot: encode PNG: %w", err)
	}
	return b.Bytes(), nil
}
