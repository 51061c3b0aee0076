#include "convert.h"

int yuv_scale(yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
              yuv_shape d, uint8_t *dy, uint8_t *du, uint8_t *dv)
{
	// Box averages all that a pixel covers; where nothing shrinks it would only repeat pixels.
	enum FilterMode filter = d.width < s.width || d.height < s.height ? kFilterBox : kFilterBilinear;
	return I420Scale(sy, s.stride[0], su, s.stride[1], sv, s.stride[2], s.width, s.height,
	                 dy, d.stride[0], du, d.stride[1], dv, d.stride[2], d.width, d.height, filter);
}

int yuv_rotate(yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
               yuv_shape d, uint8_t *dy, uint8_t *du, uint8_t *dv, int degrees)
{
	return I420Rotate(sy, s.stride[0], su, s.stride[1], sv, s.stride[2],
	                  dy, d.stride[0], du, d.stride[1], dv, d.stride[2], s.width, s.height, (enum RotationMode)degrees);
}

int yuv_to_i420(int layout, yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
                yuv_shape d, uint8_t *dy, uint8_t *du, uint8_t *dv)
{
	switch (layout) {
	case 1:
		return I420Copy(sy, s.stride[0], su, s.stride[1], sv, s.stride[2],
		                dy, d.stride[0], du, d.stride[1], dv, d.stride[2], s.width, s.height);
	case 2:
		return I422ToI420(sy, s.stride[0], su, s.stride[1], sv, s.stride[2],
		                  dy, d.stride[0], du, d.stride[1], dv, d.stride[2], s.width, s.height);
	case 3:
		return I444ToI420(sy, s.stride[0], su, s.stride[1], sv, s.stride[2],
		                  dy, d.stride[0], du, d.stride[1], dv, d.stride[2], s.width, s.height);
	case 4: // strides of 16-bit planes count samples
		return I010ToI420((const uint16_t *)sy, s.stride[0] / 2, (const uint16_t *)su, s.stride[1] / 2,
		                  (const uint16_t *)sv, s.stride[2] / 2,
		                  dy, d.stride[0], du, d.stride[1], dv, d.stride[2], s.width, s.height);
	}
	return -1;
}

int yuv_to_nv12(yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
                uint8_t *dy, int stride_y, uint8_t *duv, int stride_uv)
{
	return I420ToNV12(sy, s.stride[0], su, s.stride[1], sv, s.stride[2], dy, stride_y, duv, stride_uv, s.width, s.height);
}

int yuv_to_rgb(int format, int matrix, int full, yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
               uint8_t *dst, int stride)
{
	// libyuv's names are of little-endian words: with these "Yvu" tables and U for V its RGB24 and ARGB, which have
	// blue first in memory, come out with red first.
	const struct YuvConstants *tables[3][2] = {
		{&kYvuI601Constants, &kYvuJPEGConstants},
		{&kYvuH709Constants, &kYvuF709Constants},
		{&kYvu2020Constants, &kYvuV2020Constants},
	};
	if (matrix < 0 || matrix > 2)
		return -1;
	const struct YuvConstants *table = tables[matrix][full != 0];
	if (format == YUV_RGB24)
		return I420ToRGB24Matrix(sy, s.stride[0], sv, s.stride[2], su, s.stride[1], dst, stride, table, s.width, s.height);
	return I420ToARGBMatrix(sy, s.stride[0], sv, s.stride[2], su, s.stride[1], dst, stride, table, s.width, s.height);
}
