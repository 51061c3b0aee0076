package clips

import (
	"image"
	"math"
)

// Geometry and levels of the watermark. See README.md.
const (
	stripColumns = 32
	stripRows    = 18
	stripBlocks  = 16
	// Luma between these two is neither black nor white: the picture is damaged, or has no watermark.
	blackBelow = 96
	whiteAbove = 160
)

// ReadWatermark reads the watermark in a luma plane of w×h pixels, whose rows are stride bytes apart, full or limited
// range. ok is false when there is none, or it is damaged. The picture may be scaled, but not cropped.
func ReadWatermark(luma []byte, w, h, stride int) (id int, ok bool) {
	const largest = 1 << 15
	if w < 2*stripColumns || h < 2*stripRows || stride < w || h > largest || stride > largest || len(luma) < stride*(h-1)+w {
		return 0, false
	}
	var bits uint16
	for i := range stripBlocks {
		level := blockMean(luma, w, h, stride, i+1)
		switch {
		case level >= whiteAbove:
			bits = bits<<1 | 1
		case level < blackBelow:
			bits <<= 1
		default:
			return 0, false
		}
	}
	id = int(bits >> 8)
	return id, byte(bits) == ^byte(id)
}

// blockMean is the mean luma of the inner half of a block, away from what scaling and coding smear in from its neighbours.
func blockMean(luma []byte, w, h, stride, column int) int {
	x0, x1 := (4*column+1)*w/(4*stripColumns), (4*column+3)*w/(4*stripColumns)
	y0, y1 := 5*h/(4*stripRows), 7*h/(4*stripRows)
	x1, y1 = max(x1, x0+1), max(y1, y0+1)
	sum := 0
	for y := y0; y < y1; y++ {
		for _, v := range luma[y*stride+x0 : y*stride+x1] {
			sum += int(v)
		}
	}
	return sum / ((x1 - x0) * (y1 - y0))
}

// Luma returns the luma plane of a picture and its stride, for ReadWatermark.
func Luma(img image.Image) (luma []byte, w, h, stride int) {
	b := img.Bounds()
	w, h = b.Dx(), b.Dy()
	if y, isYCbCr := img.(*image.YCbCr); isYCbCr {
		return y.Y[y.YOffset(b.Min.X, b.Min.Y):], w, h, y.YStride
	}
	luma = make([]byte, 0, w*h)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red, green, blue, _ := img.At(x, y).RGBA()
			luma = append(luma, byte((299*red+587*green+114*blue)/1000>>8))
		}
	}
	return luma, w, h, w
}

// Tones returns the frequencies that a microphone may have, in hertz. None is a multiple of another.
func Tones() []int { return []int{1000, 1500, 2200, 2900} }

// A tone counts when it is this loud, and so many times as loud as each of the others. Real ones stand near 0.06.
const (
	toneFloor     = 0.02
	toneDominance = 3
)

// ToneAt looks for the known tones in mono samples of the given rate. It returns the loudest and its amplitude, where 1 is full
// scale. hz is 0 when none stands out: it is not there, or not alone. Half a second is needed, because speech has short parts at every frequency.
func ToneAt(pcm []int16, rate int) (hz int, strength float64) {
	if rate <= 0 || len(pcm) < rate/2 {
		return 0, 0
	}
	second := 0.0
	for _, tone := range Tones() {
		switch a := amplitude(pcm, rate, tone); {
		case a > strength:
			hz, strength, second = tone, a, strength
		case a > second:
			second = a
		}
	}
	if strength < toneFloor || strength < toneDominance*second {
		return 0, strength
	}
	return hz, strength
}

// amplitude is that of one frequency by Goertzel's algorithm under a Hann window, which keeps speech nearby out of it.
func amplitude(pcm []int16, rate, hz int) float64 {
	omega := 2 * math.Pi * float64(hz) / float64(rate)
	coefficient := 2 * math.Cos(omega)
	step := 2 * math.Pi / float64(len(pcm))
	var s1, s2 float64
	for i, v := range pcm {
		window := 0.5 - 0.5*math.Cos(step*float64(i))
		s1, s2 = float64(v)/32768*window+coefficient*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - coefficient*s1*s2
	// The window passes half of the sum; a real tone has half its amplitude at each of ±hz.
	return math.Sqrt(math.Max(power, 0)) * 4 / float64(len(pcm))
}
