/* SPDX-License-Identifier: MIT */
/*
 * Options of the sanitizers, in the program so that a reproducer needs no environment: memory
 * that cannot be had is NULL, as the library promises to handle it.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:max_allocation_size_mb=1024:quarantine_size_mb=32";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
	return "print_stacktrace=1";
}
