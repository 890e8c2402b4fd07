/* The 13 names of OpenMPI 1.10 that CNTK's libraries want when they are loaded. One process on one
   machine calls none of these functions, and looks at none of these data. Each name is enough.
   tools/frameworks.py builds it as libmpi.so.12 and libmpi_cxx.so.1. */

char ompi_mpi_char[1024], ompi_mpi_comm_null[1024], ompi_mpi_comm_world[1024];
char ompi_mpi_double[1024], ompi_mpi_float[1024], ompi_mpi_int[1024];
char ompi_mpi_long_long_int[1024], ompi_mpi_op_sum[1024];

void _ZN3MPI8Datatype4FreeEv(void) {}
void _ZN3MPI3Win4FreeEv(void) {}
void _ZN3MPI4CommC2Ev(void) {}
void ompi_mpi_cxx_op_intercept(void) {}
void ompi_op_set_cxx_callback(void) {}
