# shellcheck shell=bash
# What MPI and NCCL want to know of a network. Take out the # where a line is true of yours, and source it before trireme launch
# (source cluster/mpi/environment.sh), which passes NCCL_*, UCX_*, OMP_* and TRIREME_* on to other hosts; mpirun itself passes OMPI_*
# on, and others where -x names them. Slurm passes the whole environment of sbatch on. trireme doctor shows the interfaces.

# --- Which network -------------------------------------------------------------------------------------------------------------
# The interface of the cluster's network: a host has others (docker0, virbr0, management) that reach nobody. ^ leaves some out.
# export NCCL_SOCKET_IFNAME=eth0
# export OMPI_MCA_btl_tcp_if_include=eth0
# export OMPI_MCA_oob_tcp_if_include=eth0
# The InfiniBand or RoCE adapters for data; without it NCCL takes all, those for storage too.
# export NCCL_IB_HCA=mlx5_0,mlx5_1,mlx5_2,mlx5_3
# RoCE v2 over IPv4: which address of an adapter (show_gids lists them); wrong ones fail with "unhandled system error".
# export NCCL_IB_GID_INDEX=3
# RoCE: the traffic class that the switches keep lossless.
# export NCCL_IB_TC=106
# No InfiniBand at all: do not look for it.
# export NCCL_IB_DISABLE=1

# --- How hosts and GPUs reach each other ---------------------------------------------------------------------------------------
# How far a GPU may be from the adapter that reads its memory directly (PIX: one PCIe switch, PHB: one CPU, SYS: anywhere).
# export NCCL_NET_GDR_LEVEL=PHB
# In containers whose /dev/shm is small: 64 MB are not enough for NCCL; start them with --shm-size=1g, or do without.
# export NCCL_SHM_DISABLE=1
# Open MPI through UCX where there is InfiniBand; without it its TCP is used.
# export OMPI_MCA_pml=ucx

# --- Ending instead of waiting -------------------------------------------------------------------------------------------------
# A link that is cut is noticed after 6 seconds in place of 8 minutes.
export OMPI_MCA_oob_tcp_keepalive_time=2
export OMPI_MCA_oob_tcp_keepalive_intvl=1
export OMPI_MCA_oob_tcp_keepalive_probes=3
# InfiniBand: 4.096 us * 2^20 until a packet counts as lost, and 7 tries: a link that flaps for seconds ends no job.
# export NCCL_IB_TIMEOUT=20
# export NCCL_IB_RETRY_CNT=7

# --- To see what is going on ---------------------------------------------------------------------------------------------------
# The versions, rings and networks that NCCL chose; INFO when something is slow or does not start.
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
# export NCCL_DEBUG_SUBSYS=INIT,NET
# The topology as NCCL found it.
# export NCCL_TOPO_DUMP_FILE=topology.xml
