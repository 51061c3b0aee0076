// libyuv's C interface; its matrices by number.
#ifndef PENSTOCK_YUV_CONVERT_H
#define PENSTOCK_YUV_CONVERT_H

#include <libyuv.h>

typedef struct {
	int width, height;
	int stride[3];
} yuv_shape;

enum { YUV_RGB24, YUV_RGBA };

int yuv_scale(yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
              yuv_shape d, uint8_t *dy, uint8_t *du, uint8_t *dv);
int yuv_rotate(yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
               yuv_shape d, uint8_t *dy, uint8_t *du, uint8_t *dv, int degrees);
// layout: as package picture's.
int yuv_to_i420(int layout, yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
                yuv_shape d, uint8_t *dy, uint8_t *du, uint8_t *dv);
int yuv_to_nv12(yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
                uint8_t *dy, int stride_y, uint8_t *duv, int stride_uv);
int yuv_to_rgb(int format, int matrix, int full, yuv_shape s, const uint8_t *sy, const uint8_t *su, const uint8_t *sv,
               uint8_t *dst, int stride);

#endif
