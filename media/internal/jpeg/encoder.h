// libjpeg's compressor without its exit().
#ifndef PENSTOCK_JPEG_ENCODER_H
#define PENSTOCK_JPEG_ENCODER_H

#include <stdint.h>

typedef struct jpx_encoder jpx_encoder;

enum { JPX_NO_MEMORY = -1, JPX_FAILED = -2, JPX_TOO_SMALL = -3 };

jpx_encoder *jpx_open(void);
void jpx_close(jpx_encoder *e);

// jpx_encode_rgba writes a baseline JFIF with 4:2:0 chroma to dst, and returns its size or a JPX_ error.
long jpx_encode_rgba(jpx_encoder *e, const uint8_t *rgba, int stride, int width, int height, int quality,
                     uint8_t *dst, unsigned long max);

#endif
