/* Sections of variables that end in arrays, to be made longer or shorter. */
#include "helpers.h"

int first;
int values[4];
int head = 7;
int tail[3] = { 8, 9, 10 };
SEC(".data.odd") int odd = 5;

SEC("xdp")
int total(struct xdp_md *ctx)
{
	int sum = first;

	for (int i = 0; i < 4; i++)
		sum += ((volatile int *)values)[i];
	odd++;
	return sum + (head + tail[0] ? 0 : 1);
}

char LICENSE[] SEC("license") = "GPL";
