#include "encoder.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

struct jpx_encoder {
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	struct jpeg_destination_mgr dest;
	jmp_buf back;
	int full;
};

static void on_error(j_common_ptr c) { longjmp(((jpx_encoder *)c)->back, 1); }
static void on_message(j_common_ptr c) { (void)c; }
static void init_dest(j_compress_ptr c) { (void)c; }

// The buffer is all there is: full is an error, which the caller answers with a larger one.
static boolean on_full(j_compress_ptr c)
{
	jpx_encoder *e = (jpx_encoder *)c;
	e->full = 1;
	longjmp(e->back, 1);
	return FALSE;
}

static int create(jpx_encoder *e)
{
	e->c.err = jpeg_std_error(&e->errors);
	e->errors.error_exit = on_error;
	e->errors.output_message = on_message;
	if (setjmp(e->back))
		return -1;
	jpeg_create_compress(&e->c);
	e->dest.init_destination = init_dest;
	e->dest.empty_output_buffer = on_full;
	e->dest.term_destination = init_dest;
	e->c.dest = &e->dest;
	return 0;
}

jpx_encoder *jpx_open(void)
{
	jpx_encoder *e = calloc(1, sizeof(*e));
	if (e && create(e)) {
		jpx_close(e);
		e = NULL;
	}
	return e;
}

void jpx_close(jpx_encoder *e)
{
	jpeg_destroy_compress(&e->c);
	free(e);
}

long jpx_encode_rgba(jpx_encoder *e, const uint8_t *rgba, int stride, int width, int height, int quality,
                     uint8_t *dst, unsigned long max)
{
	e->full = 0;
	if (setjmp(e->back)) {
		jpeg_abort_compress(&e->c);
		return e->full ? JPX_TOO_SMALL : JPX_FAILED;
	}
	e->dest.next_output_byte = dst;
	e->dest.free_in_buffer = max;
	e->c.image_width = width;
	e->c.image_height = height;
	e->c.input_components = 4;
	e->c.in_color_space = JCS_EXT_RGBX;
	jpeg_set_defaults(&e->c); // baseline, JFIF, 4:2:0
	jpeg_set_quality(&e->c, quality, TRUE);
	e->c.dct_method = JDCT_ISLOW; // as fast as the others with SIMD, and exact at high quality
	jpeg_start_compress(&e->c, TRUE);
	while (e->c.next_scanline < e->c.image_height) {
		JSAMPROW rows[16];
		int n = 0;
		for (; n < 16 && e->c.next_scanline + n < e->c.image_height; n++)
			rows[n] = (JSAMPROW)(rgba + (size_t)(e->c.next_scanline + n) * stride);
		jpeg_write_scanlines(&e->c, rows, n);
	}
	jpeg_finish_compress(&e->c);
	return (long)(max - e->dest.free_in_buffer);
}
