/* A library of a driver before 450, which knew no multi-instance GPUs: an M60 with error correction. */
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory;

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 6 ? "Not Found" : "Unknown Error"; }

int nvmlSystemGetDriverVersion(char *to, unsigned size)
{
	strncpy(to, "418.226.00", size);
	return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *at, void **device)
{
	static int gpu;

	*device = &gpu;
	return strcmp(at, "0000:05:00.0") ? 6 : 0;
}

int nvmlDeviceGetMemoryInfo(void *device, memory *m)
{
	m->total = 7680ULL << 20;
	return 0;
}

int nvmlDeviceGetEccMode(void *device, int *now, int *then)
{
	*now = *then = 1;
	return 0;
}
