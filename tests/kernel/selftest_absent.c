// What test_verifier.c calls to run programs, or to look for kernel modules: nothing is loaded, so
// there is nothing to run. In a file of its own since what is static in one version is not in
// another.
int bpf_prog_test_run_opts(void) { return -1; }
int bpf_obj_get_info_by_fd(void) { return -1; }
int bpf_btf_get_fd_by_id(void) { return -1; }
void btf__set_fd(void) { }
int btf__fd(void) { return 0; }
int get_xlated_program(void) { return -1; }
// BPF_F_TEST_RND_HI32
int testing_prog_flags(void) { return 4; }
