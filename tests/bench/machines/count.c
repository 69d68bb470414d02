/* A plugin of QEMU's that counts the guest's instructions into a file.
 *
 *     qemu-system-x86_64 -plugin count.so,into=FILE ...
 *
 * The file holds three numbers of 64 bits, which are there to be read at any time:
 *   0  instructions that the guest has executed (each translated block counts as a whole, also where an
 *      interrupt or a fault leaves it early: well below one in a hundred)
 *   1  the first number's value when the first code of Linux's high mapping was executed: kernel_end - 2 GiB and
 *      above, Documentation/arch/x86/x86_64/mm.rst
 *   2  the same for the first code of a program after that: the addresses where x86-64's Linux maps
 *      position-independent programs and ld.so, from two thirds of 2^47 on (fs/binfmt_elf.c, ELF_ET_DYN_BASE)
 * For one virtual processor: they are added to without a lock.
 *
 * QEMU's header of such plugins is in no package of Debian's; what is declared here is what its documentation
 * describes, docs/devel/tcg-plugins.rst. A block's number of instructions, and what is called when one is
 * translated or executed, have been the same in each version of that interface; the addition without a call went
 * away with version 3, so it is used where it is there. VERSION is what tests/bench/machines finds QEMU to want.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct qemu_plugin_tb;
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*call)(unsigned cpu, void *given),
                                                 int registers, void *given);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *number,
                                                     uint64_t added) __attribute__((weak));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

__attribute__((visibility("default"))) int qemu_plugin_version = VERSION;

static const uint64_t KERNEL = 0xffffffff80000000, PROGRAMS = 0x555555554000, PROGRAMS_END = 0x800000000000;
static const int NO_REGISTERS = 0, ADD = 0;
static volatile uint64_t *numbers;

static void executed(unsigned cpu, void *instructions) {
    (void)cpu;
    numbers[0] += (uintptr_t)instructions;
}

static void translated(uint64_t id, struct qemu_plugin_tb *block) {
    uint64_t instructions = qemu_plugin_tb_n_insns(block), address = qemu_plugin_tb_vaddr(block);
    (void)id;
    /* What is executed for the first time is translated just before. */
    if (!numbers[1] && address >= KERNEL)
        numbers[1] = numbers[0];
    if (numbers[1] && !numbers[2] && address >= PROGRAMS && address < PROGRAMS_END)
        numbers[2] = numbers[0];
    if (qemu_plugin_register_vcpu_tb_exec_inline)
        qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, (void *)&numbers[0], instructions);
    else
        qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, (void *)(uintptr_t)instructions);
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *qemu, int count, char **words) {
    (void)qemu;
    int file = -1;
    if (count == 1 && !strncmp(words[0], "into=", 5))
        file = open(words[0] + 5, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, 3 * sizeof *numbers)) {
        fprintf(stderr, "count.so: wants into=FILE, and that it can make FILE\n");
        return 1;
    }
    numbers = mmap(NULL, 3 * sizeof *numbers, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (numbers == MAP_FAILED)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
