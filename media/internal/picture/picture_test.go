package picture

import "testing"

func TestPlaneSizeRoundsUp(t *testing.T) {
	for _, c := range []struct {
		layout                        Layout
		row, rows, chroma, chromaRows int // of a picture of 5×3
	}{
		{I420, 5, 3, 3, 2},
		{I422, 5, 3, 3, 3},
		{I444, 5, 3, 5, 3},
		{I010, 10, 3, 6, 2}, // two bytes a sample
	} {
		im := Image{Layout: c.layout, Width: 5, Height: 3}
		if row, rows := im.PlaneSize(0); row != c.row || rows != c.rows {
			t.Errorf("layout %d: luma %d×%d, want %d×%d", c.layout, row, rows, c.row, c.rows)
		}
		for plane := 1; plane <= 2; plane++ {
			if row, rows := im.PlaneSize(plane); row != c.chroma || rows != c.chromaRows {
				t.Errorf("layout %d: plane %d %d×%d, want %d×%d", c.layout, plane, row, rows, c.chroma, c.chromaRows)
			}
		}
	}
}
