/* SPDX-License-Identifier: Apache-2.0 */
/* What is on a photo?  classify [--bf16] MODEL.onnx CLASSES.txt PHOTO.jpg...
 * Build:  cc classify.c $(pkg-config --cflags --libs leat) -ljpeg -lpng -lm -o classify
 *
 * MODEL takes N x 3 x 224 x 224 f32, RGB as (x - 127) / 128, and gives 1000 logits
 * (EfficientNet-Lite0). CLASSES.txt has a class name a line. The photo's shorter side is scaled to
 * 256 pixels and its middle 224 x 224 taken. Prints the five likeliest classes with their
 * probabilities. --bf16 multiplies in bf16: faster where the processor does so natively. */
#include <leat/leat.h>

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#define SIDE 224
#define SCALED 256
#define CLASSES 1000
#define TOP 5

/* height x width x 3 bytes, RGB. */
typedef struct image {
    int width, height;
    unsigned char *pixels;
} image;

/* --- reading ------------------------------------------------------------------------------------
 */

typedef struct jpeg_errors {
    struct jpeg_error_mgr base;
    jmp_buf back;
} jpeg_errors;

static void jpeg_fail(j_common_ptr info)
{
    longjmp(((jpeg_errors *)info->err)->back, 1);
}

static int read_jpeg(FILE *file, image *out)
{
    struct jpeg_decompress_struct info;
    jpeg_errors errors;
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = jpeg_fail;
    if (setjmp(errors.back)) {
        jpeg_destroy_decompress(&info);
        return 0;
    }
    jpeg_create_decompress(&info);
    jpeg_stdio_src(&info, file);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    out->width = (int)info.output_width;
    out->height = (int)info.output_height;
    out->pixels = malloc((size_t)out->width * (size_t)out->height * 3);
    while (out->pixels != NULL && info.output_scanline < info.output_height) {
        JSAMPROW row = out->pixels + (size_t)info.output_scanline * (size_t)out->width * 3;
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_destroy_decompress(&info);
    return out->pixels != NULL;
}

static int read_png(const char *path, image *out)
{
    png_image info;
    memset(&info, 0, sizeof(info));
    info.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_file(&info, path)) {
        return 0;
    }
    info.format = PNG_FORMAT_RGB;
    out->width = (int)info.width;
    out->height = (int)info.height;
    out->pixels = malloc(PNG_IMAGE_SIZE(info));
    if (out->pixels == NULL) {
        png_image_free(&info);
        return 0;
    }
    return png_image_finish_read(&info, NULL, out->pixels, 0, NULL);
}

static int read_image(const char *path, image *out)
{
    unsigned char start[4] = {0};
    FILE *file = fopen(path, "rb");
    memset(out, 0, sizeof(*out));
    if (file == NULL || fread(start, 1, 4, file) != 4) {
        if (file != NULL) {
            fclose(file);
        }
        return 0;
    }
    rewind(file);
    int good = start[0] == 0xff ? read_jpeg(file, out) : read_png(path, out);
    fclose(file);
    return good;
}

/* --- scaling ------------------------------------------------------------------------------------
 */

/* One output line of `out_n` pixels from `in_n`, `step` values apart: the triangle filter, widened
 * by the scale when it shrinks, as PIL's bilinear resize does. */
static void scale_line(const float *in, int in_n, int in_step, float *out, int out_n, int out_step)
{
    double scale = (double)in_n / out_n, support = scale > 1 ? scale : 1;
    for (int i = 0; i < out_n; i++) {
        double center = (i + 0.5) * scale, sum = 0, weights = 0;
        int first = (int)(center - support + 0.5), last = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        last = last > in_n ? in_n : last;
        for (int j = first; j < last; j++) {
            double w = 1 - fabs((j - center + 0.5) / support);
            w = w > 0 ? w : 0;
            sum += w * (double)in[j * in_step];
            weights += w;
        }
        /* PIL keeps bytes between its two passes. */
        out[i * out_step] = (float)(floor(sum / weights + 0.5));
    }
}

/* The photo as the network's input: 3 x SIDE x SIDE. */
static int prepare(const image *im, float *out)
{
    int shorter = im->width < im->height ? im->width : im->height;
    int width = (int)((long)im->width * SCALED / shorter);
    int height = (int)((long)im->height * SCALED / shorter);
    float *source = malloc((size_t)im->width * (size_t)im->height * 3 * sizeof(float));
    float *wide = malloc((size_t)width * (size_t)im->height * 3 * sizeof(float));
    float *scaled = malloc((size_t)width * (size_t)height * 3 * sizeof(float));
    int good = source != NULL && wide != NULL && scaled != NULL;
    for (int i = 0; good && i < im->width * im->height * 3; i++) {
        source[i] = im->pixels[i];
    }
    for (int y = 0; good && y < im->height; y++) {
        for (int c = 0; c < 3; c++) {
            scale_line(source + y * im->width * 3 + c, im->width, 3, wide + y * width * 3 + c,
                       width, 3);
        }
    }
    for (int x = 0; good && x < width * 3; x++) {
        scale_line(wide + x, im->height, width * 3, scaled + x, height, width * 3);
    }
    int left = (width - SIDE) / 2, top = (height - SIDE) / 2;
    for (int c = 0; good && c < 3; c++) {
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x < SIDE; x++) {
                float v = scaled[((top + y) * width + left + x) * 3 + c];
                out[(c * SIDE + y) * SIDE + x] = (v - 127) / 128;
            }
        }
    }
    free(source);
    free(wide);
    free(scaled);
    return good;
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static char **read_classes(const char *path)
{
    char line[512];
    FILE *file = fopen(path, "r");
    char **names = file ? calloc(CLASSES, sizeof(*names)) : NULL;
    for (int i = 0; names != NULL && i < CLASSES && fgets(line, sizeof(line), file); i++) {
        line[strcspn(line, "\n")] = '\0';
        names[i] = strdup(line);
    }
    if (file != NULL) {
        fclose(file);
    }
    return names;
}

static void print_top(const char *path, const float *logits, char **names)
{
    float top = logits[0], sum = 0;
    int taken[TOP];
    for (int i = 1; i < CLASSES; i++) {
        top = logits[i] > top ? logits[i] : top;
    }
    for (int i = 0; i < CLASSES; i++) {
        sum += expf(logits[i] - top);
    }
    printf("%s\n", path);
    for (int k = 0; k < TOP; k++) {
        int best = -1;
        for (int i = 0; i < CLASSES; i++) {
            int used = 0;
            for (int j = 0; j < k; j++) {
                used |= taken[j] == i;
            }
            best = !used && (best < 0 || logits[i] > logits[best]) ? i : best;
        }
        taken[k] = best;
        printf("  %5.1f %%  %4d  %s\n", 100 * (double)(expf(logits[best] - top) / sum), best,
               names[best] ? names[best] : "?");
    }
}

static int classify(leat_session *session, const char *path, char **names, leat_error *err)
{
    static float pixels[3 * SIDE * SIDE];
    image photo;
    leat_array in = {LEAT_DTYPE_F32, 4, {1, 3, SIDE, SIDE}, pixels, sizeof(pixels)};
    leat_array out = {LEAT_DTYPE_UNDEFINED, 0, {0}, NULL, 0};
    int good = read_image(path, &photo) && prepare(&photo, pixels);
    free(photo.pixels);
    if (!good) {
        fprintf(stderr, "classify: '%s' is not a JPEG or PNG that can be read\n", path);
        return 1;
    }
    if (leat_session_run(session, &in, 1, &out, 1, err)) {
        fprintf(stderr, "classify: %s\n", err->message);
        return 1;
    }
    if (out.dtype != LEAT_DTYPE_F32 || out.bytes != CLASSES * sizeof(float)) {
        fprintf(stderr, "classify: the model does not give %d numbers\n", CLASSES);
        return 1;
    }
    print_top(path, out.data, names);
    return 0;
}

int main(int argc, char **argv)
{
    leat_error err;
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_session *session = NULL;
    leat_session_desc desc = {.struct_size = sizeof(desc)};
    int code = 0;
    if (argc > 1 && strcmp(argv[1], "--bf16") == 0) {
        desc.precision = LEAT_PRECISION_BF16;
        argv++;
        argc--;
    }
    if (argc < 4) {
        fprintf(stderr, "usage: classify [--bf16] MODEL.onnx CLASSES.txt PHOTO...\n");
        return 2;
    }
    char **names = read_classes(argv[2]);
    if (names == NULL) {
        fprintf(stderr, "classify: cannot read the classes in '%s'\n", argv[2]);
        return 1;
    }
    if (leat_context_create(NULL, &context, &err) ||
        leat_model_load(context, argv[1], NULL, &model, &err) ||
        leat_session_create(model, &desc, &session, &err)) {
        fprintf(stderr, "classify: %s\n", err.message);
        code = 1;
    }
    for (int i = 3; i < argc && code == 0; i++) {
        code = classify(session, argv[i], names, &err);
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_context_destroy(context);
    for (int i = 0; i < CLASSES; i++) {
        free(names[i]);
    }
    free(names);
    return code;
}
