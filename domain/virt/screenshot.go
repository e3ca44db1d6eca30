//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"io"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// maxScreenshot bounds an image: twice an uncompressed 7680x4320 one.
const maxScreenshot = 256 << 20

var errTooLong = errors.New("the stream is too long")

// Screenshot returns what the VM's screen shows; screen 0 is the first head of
// the first display. QEMU gives image/png, and older ones (before 7.1)
// image/x-portable-pixmap.
func (c *Conn) Screenshot(ctx context.Context, vm string, screen uint) (image []byte, mimeType string, err error) {
	type shot struct {
		image    []byte
		mimeType string
	}
	s, err := onDomain(ctx, c, "take a screenshot of", vm, looks, func(l *link, d *libvirt.Domain) (shot, error) {
		stream, err := l.conn.NewStream(0)
		if err != nil {
			return shot{}, err
		}
		held(handleStream, +1)
		defer func() {
			_ = stream.Free()
			held(handleStream, -1)
		}()
		mimeType, err := d.Screenshot(stream, uint32(screen), 0)
		if err != nil {
			return shot{}, err
		}
		image, err := receive(ctx, streamReader{stream}, maxScreenshot)
		if err != nil {
			_ = stream.Abort()
			if errors.Is(err, errTooLong) {
				err = &Error{
					Op: "take a screenshot of", Object: vm, Err: err, Kind: domain.ErrUnsupported,
					Meaning: fmt.Sprintf("libvirt sends more than %d MiB", maxScreenshot>>20),
				}
			}
			return shot{}, err
		}
		return shot{image, mimeType}, stream.Finish()
	})
	return s.image, s.mimeType, err
}

// receive reads a stream to its end, unless it is too long or ctx ends.
func receive(ctx context.Context, stream io.Reader, limit int) ([]byte, error) {
	var (
		data []byte
		buf  = make([]byte, 64<<10)
	)
	for {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		n, err := stream.Read(buf)
		if n > limit-len(data) {
			return nil, errTooLong
		}
		data = append(data, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return data, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// streamReader reads a libvirt stream.
type streamReader struct{ s *libvirt.Stream }

// Read returns what Recv does: the stream is a blocking one without holes, so a
// negative count is a fault of libvirt's.
func (r streamReader) Read(p []byte) (int, error) {
	n, err := r.s.Recv(p)
	if n < 0 {
		return 0, fmt.Errorf("libvirt's stream gave %d", n)
	}
	return n, err
}
