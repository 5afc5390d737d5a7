/* Loads a library and has it adopt this program. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
	if (count < 3)
		return 1;
	void *library = dlopen(arguments[1], RTLD_NOW | atoi(arguments[2]));
	if (!library) {
		puts(dlerror());
		return 1;
	}
	const char *(*adopts)(void) = dlsym(library, "adopts");
	puts(adopts());
	return 0;
}
