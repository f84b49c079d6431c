package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// read and write are system calls on a descriptor that never blocks, so that the scheduler need not hear of them: telling it costs as much
// as parsing a head, and lets the runtime's monitor take the processor away in the middle of a burst. This is why there is unsafe here. They are those of
// sockets: read(2) and write(2) do the same after they have found out that it is one.

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), errno
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// peek looks for a first byte and leaves it; EAGAIN: there is none.
func peek(fd uintptr) syscall.Errno {
	var first [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&first)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno
}

// ready says whether a read would find something, be it the end or an error.
func ready(fd uintptr) bool { return peek(fd) != syscall.EAGAIN }

// ended says whether the other side sends no more, whatever of it is still to be read. An error shows as well, asked for or not.
func ended(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p[:], 0)
	return n > 0 && err == nil
}
