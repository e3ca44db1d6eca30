package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	dialTime = 60 * time.Second
	// A machine that doesn't answer for this long is taken for dead.
	aliveEvery = 15 * time.Second
	aliveTime  = 120 * time.Second
)

// dial opens the one connection over which everything is run.
func dial(ctx context.Context, image Image, port int) (*ssh.Client, error) {
	userKey, err := os.ReadFile(image.userKey())
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(userKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image.userKey(), err)
	}
	hostKey, err := os.ReadFile(image.hostKey())
	if err != nil {
		return nil, err
	}
	known, _, _, _, err := ssh.ParseAuthorizedKey(hostKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image.hostKey(), err)
	}
	config := &ssh.ClientConfig{
		User:            "root",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(known),
	}
	// What an emulated processor does fastest.
	config.Ciphers = []string{ssh.CipherChaCha20Poly1305}
	config.KeyExchanges = []string{ssh.KeyExchangeCurve25519}

	ctx, cancel := context.WithTimeoutCause(ctx, dialTime, fmt.Errorf("no answer from the machine's ssh server in %v", dialTime))
	defer cancel()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for {
		client, err := handshake(ctx, address, config)
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func handshake(ctx context.Context, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(sshConn, channels, requests), nil
}

// keepAlive closes the connection when the machine dies or no longer answers, so that
// nobody waits for it.
func keepAlive(client *ssh.Client, q *qemu) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = client.Wait() // any end is an end
	}()
	defer client.Close()
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-closed:
			return
		case <-q.exited:
			return
		case <-tick.C:
		}
		answer := make(chan error, 1)
		go func() {
			_, _, err := client.SendRequest("keepalive@vgpukit", true, nil)
			answer <- err
		}()
		select {
		case err := <-answer:
			if err != nil {
				return
			}
		case <-q.exited:
			return
		case <-time.After(aliveTime):
			return
		}
	}
}

var errNotRunning = errors.New("the machine is not running")

func (m *Machine) session() (*ssh.Session, error) {
	m.mu.Lock()
	client := m.client
	m.mu.Unlock()
	if client == nil {
		return nil, errNotRunning
	}
	s, err := client.NewSession()
	if err != nil {
		return nil, m.died(err)
	}
	return s, nil
}

// died explains a broken connection.
func (m *Machine) died(err error) error {
	return m.blame(fmt.Errorf("the connection to the machine broke: %w", err), "")
}
