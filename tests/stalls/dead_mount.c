/* A mount whose server is gone: `dead_mount FOLDER` mounts a FUSE file system there, says `mounted`, and reads every
 * request without ever answering one but the first, which is the greeting. Whoever calls into it hangs, and not even
 * SIGKILL ends that, until this program ends (and with it the connection) or somebody unmounts with force. Needs root. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int count, char **words) {
    static char buffer[1 << 20];
    char options[128];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (count != 2 || device < 0) return perror("/dev/fuse"), 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves nobody hanging */
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
    if (mount("dead", words[1], "fuse", MS_NOSUID | MS_NODEV, options)) return perror("mount"), 1;
    if (read(device, buffer, sizeof buffer) < (ssize_t)sizeof(struct fuse_in_header)) return perror("read"), 1;
    struct fuse_in_header *asked = (void *)buffer;
    struct { struct fuse_out_header header; struct fuse_init_out init; } answer;
    memset(&answer, 0, sizeof answer);
    answer.header.len = sizeof answer;
    answer.header.unique = asked->unique;
    answer.init.major = FUSE_KERNEL_VERSION;
    answer.init.minor = 31;
    answer.init.max_write = 4096;
    if (write(device, &answer, sizeof answer) != sizeof answer) return perror("write"), 1;
    puts("mounted");
    fflush(stdout);
    while (read(device, buffer, sizeof buffer) > 0) {}
    return 0;
}
