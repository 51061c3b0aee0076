package record

import (
	"bufio"
	"fmt"
	"io"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// nominalFPS stands in the header of a y4m file where no rate was asked for. The format knows no time stamps: every
// picture is written once, as it came.
const nominalFPS = 30

// y4m writes YUV4MPEG2 (4:2:0).
type y4m struct {
	w             *bufio.Writer
	width, height int
}

func newY4M(w io.WriteSeeker, h *penstockv1.StreamHeader, first Frame) (writer, error) {
	if first.Video == nil || len(first.Video.GetPlanes()) != 3 {
		return nil, fmt.Errorf("%w: not an I420 picture", ErrFrame)
	}
	rate, scale := nominalFPS, 1
	if fps := h.GetFormat().GetVideo().GetMaxFps(); fps > 0 {
		rate, scale = int(fps*1000), 1000
	}
	y := &y4m{w: bufio.NewWriterSize(w, 1<<16), width: int(first.Video.GetWidth()), height: int(first.Video.GetHeight())}
	_, err := fmt.Fprintf(y.w, "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C420jpeg\n", y.width, y.height, rate, scale)
	return y, err
}

func (y *y4m) accepts(f Frame) bool {
	return f.Video != nil && int(f.Video.GetWidth()) == y.width && int(f.Video.GetHeight()) == y.height
}

func (y *y4m) write(f Frame) error {
	if _, err := y.w.WriteString("FRAME\n"); err != nil {
		return err
	}
	planes := f.Video.GetPlanes()
	if len(planes) != 3 {
		return fmt.Errorf("%w: %d planes in place of 3", ErrFrame, len(planes))
	}
	for i, plane := range planes {
		w, h := y.width, y.height
		if i > 0 {
			w, h = (w+1)/2, (h+1)/2
		}
		if err := writeRows(y.w, f.Video.GetPayload(), plane, w, h); err != nil {
			return err
		}
	}
	return nil
}

func (y *y4m) close() error { return y.w.Flush() }

// writeRows writes the rows of a plane without what pads them.
func writeRows(w io.Writer, payload []byte, plane *penstockv1.Plane, width, height int) error {
	offset, stride := int(plane.GetOffset()), int(plane.GetStride())
	if stride < width || height == 0 || offset+stride*(height-1)+width > len(payload) {
		return fmt.Errorf("%w: a plane of %d×%d at %d with stride %d is not within %d bytes", ErrFrame, width, height, offset, stride, len(payload))
	}
	for range height {
		if _, err := w.Write(payload[offset : offset+width]); err != nil {
			return err
		}
		offset += stride
	}
	return nil
}
