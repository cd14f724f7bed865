# SPDX-License-Identifier: Apache-2.0
# leat: an embeddable runtime for ONNX models.
#
#   make              the library, the leat command, the examples        -> build/
#   make demo         fetch a trained network and photos, classify one
#   make chat         fetch a small language model and talk with it   (make chat ARGS='"a question"')
#   make check        all tests                     (make check ONLY=test_shape for some)
#   make memcheck     the test programs under valgrind, an hour  (make memcheck ONLY=lib/batcher for some)
#   make bench        leat and its peers side by side   (make bench ARGS='--rows mlp', see bench/table.py)
#   make fuzz         libFuzzer targets side by side, with clang (make fuzz SECONDS=600 JOBS=16; 0: one per core)
#   make install      DESTDIR, prefix, libdir, includedir, bindir as usual
#   make format       clang-format over the tree
#   make help         this text
#
# Settings: CC, CFLAGS, LDFLAGS; BUILD=DIR builds there (no spaces in its name); NVCC= leaves the CUDA plugin out;
# SANITIZE=address|undefined|thread builds in build/SANITIZE.

CC ?= cc
CFLAGS ?= -O3 -g
prefix ?= /usr/local
exec_prefix ?= $(prefix)
bindir ?= $(exec_prefix)/bin
libdir ?= $(exec_prefix)/lib
includedir ?= $(prefix)/include
INSTALL ?= install
STRIP ?= strip
SANITIZE ?=
ONLY ?= test_
SECONDS ?= 60
JOBS ?= 0

VERSION := $(shell sed -n 's/^.define LEAT_VERSION_[A-Z]* \([0-9]*\)$$/\1/p' include/leat/leat.h | paste -sd.)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
ROOT := build
BUILD ?= $(ROOT)$(if $(SANITIZE),/$(SANITIZE))
VENV := $(ROOT)/venv

# --- flags ------------------------------------------------------------------------------------------
BASE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-error=deprecated-declarations \
    -Wno-unknown-pragmas -Wno-unknown-warning-option -fPIC \
    -fvisibility=hidden -fno-math-errno -fno-trapping-math -ffp-contract=off -pthread -Iinclude -MMD -MP
ifneq ($(SANITIZE),)
BASE_CFLAGS += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
ifneq ($(findstring undefined,$(SANITIZE)),)
BASE_CFLAGS += -fno-sanitize-recover=all
endif
BASE_LDFLAGS += -fsanitize=$(SANITIZE)
else
# Nothing unwinds through the library, and debuggers read .debug_frame of -g: 163 KB less. Sections, so that what
# nobody calls is left out.
BASE_CFLAGS += -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections
endif
LIBS := -lm -ldl -pthread

# The kernels for devices as plain C++ (backends/gpu/gpu.hpp): tests only.
GPU_CXXFLAGS := -std=c++17 -fno-exceptions -fno-rtti $(filter-out -std=%,$(BASE_CFLAGS)) -Ibackends/gpu -Itests

# Instruction sets, by the end of a file's name.
AVX2_CFLAGS := -mavx2 -mfma -mf16c -mprfchw -ffp-contract=fast
AVX512_CFLAGS := $(AVX2_CFLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
isa_flags = $(if $(filter %_avx2,$*),$(AVX2_CFLAGS)) $(if $(filter %_avx512,$*),$(AVX512_CFLAGS)) \
    $(if $(filter %_avxvnni,$*),$(AVX2_CFLAGS) -mavxvnni) \
    $(if $(filter %_avx512vnni,$*),$(AVX512_CFLAGS) -mavx512vnni) \
    $(if $(filter %_avx512bf16,$*),$(AVX512_CFLAGS) -mavx512vnni -mavx512bf16)
# Products and convolutions are written for -O3. Other loops: vectors, but not the copies of each loop that -O3 adds.
CPU_SMALL := $(addsuffix /%,decoder linear loss ml movement pool quantize random reduce signal text training vision)
cpu_cflags = $(if $(filter %_types,$*)$(filter $(CPU_SMALL),$*),$(CFLAGS:-O3=-O2) -ftree-vectorize,$(CFLAGS))

# --- sources ----------------------------------------------------------------------------------------
LIB_SRC := $(sort $(wildcard lib/*/*.c lib/*/*/*.c))
CPU_SRC := $(sort $(wildcard backends/cpu/*.c backends/cpu/*/*.c))
TOOL_SRC := $(sort $(wildcard tools/leat/*.c))
BENCH_SRC := $(sort $(wildcard bench/*.c))
EXAMPLE_SRC := $(sort $(filter-out examples/backend_%,$(wildcard examples/*.c)))
PLUGIN_SRC := $(sort $(wildcard examples/backend_*.c tests/plugins/*.c))
TEST_SRC := $(sort $(shell find tests -name 'test_*.c'))
CUDA_SRC := $(sort $(wildcard backends/cuda/*.c backends/cuda/gemm/*.c))
GPU_TEST_SRC := $(sort $(wildcard tests/backends/gpu/test_*.cpp))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
SUPPORT_SRC := $(sort $(filter-out tests/conformance/test_%,$(wildcard tests/support/*.c tests/conformance/*.c)))
ifneq ($(shell uname -m),x86_64)
CPU_SRC := $(filter-out %_avx2.c %_avxvnni.c %_avx512.c %_avx512vnni.c %_avx512bf16.c,$(CPU_SRC))
TOOL_SRC := $(filter-out %_avx2.c %_avxvnni.c %_avx512.c %_avx512vnni.c %_avx512bf16.c,$(TOOL_SRC))
endif

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call objects,$(LIB_SRC) $(CPU_SRC))
TOOL_OBJ := $(call objects,$(TOOL_SRC))
SUPPORT_OBJ := $(call objects,$(SUPPORT_SRC))
BENCHES := $(patsubst %.c,$(BUILD)/%,$(BENCH_SRC))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(EXAMPLE_SRC))
PLUGINS := $(patsubst %.c,$(BUILD)/%.so,$(PLUGIN_SRC))
# The plugin for NVIDIA's GPUs is built where the CUDA toolkit is; NVCC= goes without.
NVCC ?= $(firstword $(wildcard $(shell command -v nvcc) /usr/local/cuda/bin/nvcc))
CUDA_PLUGIN := $(if $(NVCC),$(BUILD)/libleat_cuda.so)
CUDA_OBJ := $(call objects,$(CUDA_SRC))
TESTS := $(patsubst %.c,$(BUILD)/%,$(TEST_SRC))
GPU_TESTS := $(patsubst %.cpp,$(BUILD)/%,$(GPU_TEST_SRC))
REPLAYS := $(patsubst %.c,$(BUILD)/%_replay,$(FUZZ_SRC))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))
CUDA_GEMM_OBJ := $(call objects,$(sort $(wildcard backends/cuda/gemm/*.c)))
NVCCFLAGS ?= -O3 -std=c++17
SM90A := -gencode arch=compute_90a,code=sm_90a
lower = $(shell echo $(1) | tr A-Z a-z)
CUDA_GEMM_FATBINS := $(if $(NVCC),$(patsubst %.cu,$(ROOT)/%.fatbin,$(wildcard backends/cuda/gemm/*.cu)))
STATIC := $(BUILD)/libleat.a
SHARED := $(BUILD)/libleat.so.$(VERSION)

.PHONY: all demo chat check memcheck bench fuzz fuzzers install uninstall format clean help test-programs
.SECONDARY:
all: $(STATIC) $(SHARED) $(BUILD)/leat $(EXAMPLES) $(PLUGINS) $(CUDA_PLUGIN)
	@$(if $(NVCC),:,echo "leat: no nvcc (CUDA toolkit 12.8 or newer): the CUDA plugin is not built")

# --- rules ------------------------------------------------------------------------------------------
# Rebuilds all objects when the compiler or its flags change.
STAMP := $(BUILD)/flags
STAMP_TEXT := $(CC) $(CFLAGS) $(LDFLAGS) $(BASE_CFLAGS) $(AVX512_CFLAGS)
$(shell mkdir -p $(BUILD); printf '%s\n' '$(subst ','\'',$(STAMP_TEXT))' | cmp -s - $(STAMP) || \
    printf '%s\n' '$(subst ','\'',$(STAMP_TEXT))' > $(STAMP))

# The only object that knows where it will be installed.
$(shell printf '%s\n' '$(libdir)' | cmp -s - $(BUILD)/libdir || printf '%s\n' '$(libdir)' > $(BUILD)/libdir)
$(BUILD)/obj/lib/runtime/context.o: BASE_CFLAGS += -DLEAT_PLUGIN_DIRECTORY='"$(libdir)/leat"'
$(BUILD)/obj/lib/runtime/context.o: $(BUILD)/libdir

# The core works on files and graphs, without loops over data that -O3 would help; what runs once a load, or a scrape, is small.
core_level = $(if $(filter graph/% passes/% onnx/% metrics/% sequences/% scheduler/scheduler scheduler/queue scheduler/requests scheduler/guard scheduler/learn scheduler/weights,$*),-Os,-O2)
$(BUILD)/obj/lib/%.o: lib/%.c $(STAMP)
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ilib $(CFLAGS:-O3=$(core_level)) -c $< -o $@

$(BUILD)/obj/backends/cpu/%.o: backends/cpu/%.c $(STAMP)
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ibackends/cpu $(isa_flags) $(cpu_cflags) -c $< -o $@

$(BUILD)/obj/backends/cuda/%.o: backends/cuda/%.c $(STAMP)
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ibackends/cuda $(CFLAGS) -c $< -o $@

$(ROOT)/backends/cuda/gemm/%.fatbin: backends/cuda/gemm/%.cu $(wildcard backends/cuda/gemm/*.h backends/cuda/gemm/*.cuh)
	@mkdir -p $(@D)
	$(filter ccache,$(CC)) $(NVCC) $(NVCCFLAGS) $(SM90A) --compress-mode=size -fatbin $< -o $@

# A ladder compares with vendor libraries: built where nvcc is, on request.
$(BUILD)/bench/ladder/%: bench/ladder/%.cu $(wildcard bench/ladder/*.h bench/ladder/*.cuh backends/cuda/gemm/*.h backends/cuda/gemm/*.cuh backends/gpu/*.hpp backends/gpu/params/*.h) $(CUDA_GEMM_OBJ)
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) $(SM90A) -Iinclude $< $(CUDA_GEMM_OBJ) -lcublas -lcublasLt -o $@

$(BUILD)/obj/bench/%.o: bench/%.c $(STAMP)
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ilib -Ibench $(CFLAGS) -c $< -o $@

$(BUILD)/obj/tools/%.o: tools/%.c $(STAMP)
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ilib -Itools $(isa_flags) $(CFLAGS) -c $< -o $@

$(BUILD)/obj/tests/%.o: tests/%.c $(STAMP) $(BUILD)/cmocka.ok
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ilib -Ibackends/cpu -Itests -DTEST_BUILD='"$(BUILD)"' $(CFLAGS) -c $< -o $@

$(BUILD)/obj/backends/gpu/%.o $(BUILD)/obj/tests/backends/gpu/%.o: CFLAGS := $(CFLAGS:-O3=-O1)
# The thread sanitizer does not follow fibres that change stacks by hand; these programs have one thread each.
ifeq ($(SANITIZE),thread)
$(BUILD)/obj/backends/gpu/%.o $(BUILD)/obj/tests/backends/gpu/%.o: GPU_CXXFLAGS += -fno-sanitize=thread
$(BUILD)/obj/tests/backends/cuda/fake_driver.o: GPU_CXXFLAGS += -fno-sanitize=thread
endif
$(BUILD)/obj/%.o: %.cpp $(STAMP) $(BUILD)/cmocka.ok $(BUILD)/cxx.ok
	@mkdir -p $(@D)
	$(CXX) $(GPU_CXXFLAGS) $(CFLAGS) -c $< -o $@

$(BUILD)/obj/tests/backends/cuda/%.o: BASE_CFLAGS += -Ibackends/cuda -DTEST_KERNELS='"$(ROOT)/backends/cuda/gemm"'
$(filter $(BUILD)/tests/backends/cuda/gemm/%,$(TESTS)): $(CUDA_GEMM_OBJ)

$(BUILD)/obj/examples/%.o: examples/%.c $(STAMP)
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(CFLAGS) -c $< -o $@

$(STATIC): $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(SHARED): $(LIB_OBJ)
	$(CC) -shared -Wl,-soname,libleat.so.$(MAJOR) -Wl,--no-undefined -Wl,--gc-sections \
	    $(BASE_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@
	ln -sf $(@F) $(BUILD)/libleat.so.$(MAJOR)
	ln -sf $(@F) $(BUILD)/libleat.so

$(BUILD)/leat: $(TOOL_OBJ) $(STATIC)
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

SERVE_OBJ := $(call objects,$(sort $(wildcard bench/serve/*.c)))
$(BUILD)/bench/serve: $(SERVE_OBJ)
SCHED_OBJ := $(call objects,$(sort $(wildcard bench/sched/*.c)))
$(BUILD)/bench/sched: $(SCHED_OBJ)
$(BUILD)/bench/serve $(BUILD)/bench/sched: LIBS := $(STATIC) $(LIBS) # behind these
$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

$(BUILD)/examples/classify: LIBS += -ljpeg -lpng
$(BUILD)/examples/classify: | $(BUILD)/image-libraries.ok
$(BUILD)/obj/examples/classify.o: | $(BUILD)/image-libraries.ok
$(BUILD)/examples/chat: $(BUILD)/obj/examples/chat/tokenizer.o
$(BUILD)/examples/%: $(BUILD)/obj/examples/%.o $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

# Plugins link without libleat. One is a fake of NVIDIA's management library.
$(BUILD)/tests/plugins/nvml.so: LDFLAGS += -Wl,-soname,libnvidia-ml.so.1
$(BUILD)/%.so: $(BUILD)/obj/%.o
	@mkdir -p $(@D)
	$(CC) -shared $(BASE_LDFLAGS) $(LDFLAGS) $< -o $@

# The CUDA plugin: kernels as one fat binary (made once for all sanitizers), the host's side in C.
# CUDA_ARCHS: machine code for each sm_N, PTX for each compute_N that newer devices compile.
CUDA_ARCHS ?= sm_80 sm_90a sm_100 compute_80
cuda_gencode = -gencode arch=$(patsubst sm_%,compute_%,$(1)),code=$(1)
CUDA_FATBIN := $(ROOT)/cuda/kernels.fatbin
CUDA_STAMP := $(ROOT)/cuda/archs
$(shell mkdir -p $(dir $(CUDA_STAMP)); printf '%s\n' '$(NVCC) $(CUDA_ARCHS)' | cmp -s - $(CUDA_STAMP) || \
    printf '%s\n' '$(NVCC) $(CUDA_ARCHS)' > $(CUDA_STAMP))
$(CUDA_FATBIN): backends/cuda/kernels.cu $(CUDA_STAMP) $(wildcard backends/gpu/*.hpp backends/gpu/params/*.h)
	$(NVCC) -std=c++17 -O3 --threads 2 --compress-mode=size -Ibackends/gpu \
	    $(foreach arch,$(CUDA_ARCHS),$(call cuda_gencode,$(arch))) -fatbin $< -o $@

$(BUILD)/obj/backends/cuda/kernels.o: backends/cuda/kernels.S $(CUDA_FATBIN) $(CUDA_GEMM_FATBINS) $(STAMP)
	@mkdir -p $(@D)
	$(CC) -DLT_CUDA_FATBIN='"$(CUDA_FATBIN)"' \
	    $(foreach type,F16 BF16 I8 U8 TF32,-DLT_CUDA_GEMM_$(type)_FATBIN='"$(ROOT)/backends/cuda/gemm/gemm_$(call lower,$(type)).fatbin"') \
	    -c $< -o $@
# For tests without a device or nvcc: the plugin without machine code, and a driver that runs the kernels by fibres.
CUDA_FAKES := $(BUILD)/tests/backends/cuda/libleat_cuda.so $(BUILD)/tests/backends/cuda/libcuda.so.1 \
    $(BUILD)/tests/backends/cuda/libcublasLt.so.13
$(BUILD)/obj/backends/cuda/no_kernels.o: backends/cuda/kernels.S $(STAMP)
	@mkdir -p $(@D)
	$(CC) -c $< -o $@
$(BUILD)/tests/backends/cuda/libleat_cuda.so: $(CUDA_OBJ) $(BUILD)/obj/backends/cuda/no_kernels.o
	@mkdir -p $(@D)
	$(CC) -shared $(BASE_LDFLAGS) $(LDFLAGS) $^ -ldl -o $@
$(BUILD)/tests/backends/cuda/libcuda.so.1: $(BUILD)/obj/tests/backends/cuda/fake_driver.o $(BUILD)/obj/backends/gpu/emulate.o
	@mkdir -p $(@D)
	$(CXX) -shared -Wl,-soname,libcuda.so.1 $(BASE_LDFLAGS) $(LDFLAGS) $^ -ldl -o $@
$(BUILD)/tests/backends/cuda/libcublasLt.so.13: $(BUILD)/obj/tests/backends/cuda/fake_blaslt.o
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-soname,libcublasLt.so.13 $(BASE_LDFLAGS) $(LDFLAGS) $^ -lm -ldl -o $@
$(BUILD)/obj/tests/backends/cuda/fake_driver.o: CFLAGS := $(CFLAGS:-O3=-O2)

$(BUILD)/libleat_cuda.so: $(CUDA_OBJ) $(BUILD)/obj/backends/cuda/kernels.o
	$(CC) -shared $(BASE_LDFLAGS) $(LDFLAGS) $^ -ldl -o $@

# An archive, so that a test links only what it uses.
$(BUILD)/libtest.a: $(SUPPORT_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/tests/examples/test_tokenizer: $(BUILD)/obj/examples/chat/tokenizer.o
$(BUILD)/obj/tests/bench/%.o: BASE_CFLAGS += -Ibench
$(BUILD)/tests/bench/sched/test_guard: $(SCHED_OBJ)
$(BUILD)/tests/bench/sched/test_guard: LIBS := $(STATIC) $(LIBS) # behind these
$(BUILD)/tests/bench/serve/test_search: $(BUILD)/obj/bench/serve/search.o
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libtest.a $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) $^ -lcmocka $(LIBS) -o $@

$(GPU_TESTS): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/obj/backends/gpu/emulate.o
	@mkdir -p $(@D)
	$(CXX) $(BASE_LDFLAGS) $(LDFLAGS) $^ -lcmocka $(LIBS) -o $@

# A fuzz target with the files of a corpus for input, or (make fuzz) with libFuzzer.
FUZZ_SHARED := $(call objects,tests/fuzz/fuzz.c tests/fuzz/inputs.c tests/support/onnx_builder.c)
$(BUILD)/tests/fuzz/%_replay: $(call objects,tests/fuzz/replay.c) $(FUZZ_SHARED) $(BUILD)/obj/tests/fuzz/%.o $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@
# Those that read models change messages (mutate.c), others bytes.
$(patsubst %,$(BUILD)/tests/fuzz/fuzz_%,run load external sequences quantize batcher): $(call objects,tests/fuzz/mutate.c tests/fuzz/edits.c)
$(FUZZERS): $(BUILD)/tests/fuzz/%: $(FUZZ_SHARED) $(BUILD)/obj/tests/fuzz/%.o $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -fsanitize=fuzzer $^ $(LIBS) -o $@

# What the build needs beyond gcc, make and python3; installed when run as root.
$(BUILD)/cmocka.ok:
	scripts/need.sh cmocka.h libcmocka-dev
	@mkdir -p $(@D) && touch $@
$(BUILD)/cxx.ok:
	scripts/need.sh $(firstword $(CXX)) g++
	@mkdir -p $(@D) && touch $@
$(BUILD)/image-libraries.ok:
	scripts/need.sh jpeglib.h libjpeg62-turbo-dev
	scripts/need.sh png.h libpng-dev
	@mkdir -p $(@D) && touch $@
$(BUILD)/commands.ok: $(BUILD)/cxx.ok
	scripts/need.sh pkg-config pkg-config
	scripts/need.sh readelf binutils
	@mkdir -p $(@D) && touch $@

# --- running ----------------------------------------------------------------------------------------
demo: $(BUILD)/leat $(BUILD)/examples/classify
	scripts/demo.sh $(BUILD)

chat: $(BUILD)/examples/chat
	scripts/models.sh smollm2
	$< $(ROOT)/models/smollm2.onnx $(ROOT)/models/smollm2-tokenizer.txt $(ARGS)

test-programs: $(CUDA_GEMM_FATBINS) $(TESTS) $(GPU_TESTS) $(REPLAYS) $(BENCHES) $(PLUGINS) $(CUDA_PLUGIN) $(CUDA_FAKES) $(BUILD)/leat $(EXAMPLES) $(SHARED)
check: test-programs $(BUILD)/commands.ok
	scripts/check.sh $(BUILD) $(ONLY)

memcheck: test-programs
	scripts/need.sh valgrind valgrind
	scripts/memcheck.sh $(BUILD) $(ONLY)

bench: $(BUILD)/leat $(SHARED) $(BENCHES)
	scripts/bench.sh $(ARGS)

fuzzers: $(FUZZERS)
fuzz:
	scripts/fuzz.sh $(ROOT)/fuzz $(SECONDS) $(JOBS)

# --- install ----------------------------------------------------------------------------------------
install: $(STATIC) $(SHARED) $(BUILD)/leat $(CUDA_PLUGIN)
	$(INSTALL) -d "$(DESTDIR)$(bindir)" "$(DESTDIR)$(libdir)/pkgconfig" "$(DESTDIR)$(libdir)/leat" \
	    "$(DESTDIR)$(includedir)/leat"
	$(INSTALL) -m 644 include/leat/*.h "$(DESTDIR)$(includedir)/leat"
	$(INSTALL) -m 644 $(STATIC) "$(DESTDIR)$(libdir)"
	$(STRIP) -g "$(DESTDIR)$(libdir)/libleat.a"
	$(INSTALL) -m 755 -s $(SHARED) "$(DESTDIR)$(libdir)"
	ln -sf libleat.so.$(VERSION) "$(DESTDIR)$(libdir)/libleat.so.$(MAJOR)"
	ln -sf libleat.so.$(VERSION) "$(DESTDIR)$(libdir)/libleat.so"
	$(INSTALL) -m 755 -s $(BUILD)/leat "$(DESTDIR)$(bindir)"
	$(if $(CUDA_PLUGIN),$(INSTALL) -m 755 -s $(CUDA_PLUGIN) "$(DESTDIR)$(libdir)/leat")
	sed -e 's|@prefix@|$(prefix)|; s|@exec_prefix@|$(exec_prefix)|; s|@libdir@|$(libdir)|' \
	    -e 's|@includedir@|$(includedir)|; s|@version@|$(VERSION)|' \
	    pkgconfig/leat.pc.in > "$(DESTDIR)$(libdir)/pkgconfig/leat.pc"

uninstall:
	rm -rf "$(DESTDIR)$(includedir)/leat" "$(DESTDIR)$(libdir)"/libleat.* "$(DESTDIR)$(bindir)/leat" \
	    "$(DESTDIR)$(libdir)/pkgconfig/leat.pc" "$(DESTDIR)$(libdir)/leat/libleat_cuda.so"
	rmdir "$(DESTDIR)$(libdir)/leat" 2>/dev/null || : # plugins of others stay

format:
	git ls-files '*.c' '*.h' '*.inc' '*.cpp' '*.hpp' | xargs clang-format -i

clean:
	rm -rf $(ROOT)

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(TOOL_OBJ) $(SUPPORT_OBJ) $(call objects,$(BENCH_SRC) $(wildcard bench/*/*.c) $(EXAMPLE_SRC) examples/chat/tokenizer.c $(PLUGIN_SRC) $(CUDA_SRC) $(TEST_SRC) $(wildcard tests/fuzz/*.c)) $(patsubst %.cpp,$(BUILD)/obj/%.d,$(GPU_TEST_SRC) backends/gpu/emulate.cpp tests/backends/cuda/fake_driver.cpp))
