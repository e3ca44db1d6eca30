package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// monitor speaks QEMU's machine protocol (QMP) over a socket.
type monitor struct {
	mu   sync.Mutex
	conn net.Conn
	dec  *json.Decoder
}

const monitorTimeout = 20 * time.Second

// newMonitor takes over socket, whatever comes of it.
func newMonitor(socket *os.File) (*monitor, error) {
	defer socket.Close()
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, dec: json.NewDecoder(conn)}
	var greeting struct{ QMP any }
	if err := conn.SetDeadline(time.Now().Add(monitorTimeout)); err != nil {
		conn.Close()
		return nil, err
	}
	if err := m.dec.Decode(&greeting); err != nil {
		conn.Close()
		return nil, fmt.Errorf("no greeting of its monitor: %w", err)
	}
	if _, err := m.execute("qmp_capabilities", nil); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

func (m *monitor) close() { m.conn.Close() }

// execute sends one command and returns what it returns.
func (m *monitor) execute(command string, arguments any) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.conn.SetDeadline(time.Now().Add(monitorTimeout)); err != nil {
		return nil, err
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return nil, fmt.Errorf("monitor command %s: %w", command, err)
	}
	for {
		var reply struct {
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
		}
		err := m.dec.Decode(&reply)
		if errors.Is(err, io.EOF) {
			err = errors.New("QEMU has ended")
		}
		if err != nil {
			return nil, fmt.Errorf("monitor command %s: %w", command, err)
		}
		if reply.Error != nil {
			return nil, fmt.Errorf("monitor command %s: %s", command, reply.Error.Desc)
		}
		if reply.Return != nil { // anything else is an event
			return reply.Return, nil
		}
	}
}

// sshPort asks for the port of this host that leads to the machine's port 22.
func (m *monitor) sshPort() (int, error) {
	out, err := m.execute("human-monitor-command", map[string]string{"command-line": "info usernet"})
	if err != nil {
		return 0, err
	}
	var text string
	if err := json.Unmarshal(out, &text); err != nil {
		return 0, err
	}
	return forwardedPort(text)
}

var forwardLine = regexp.MustCompile(`(?m)TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b`)

// forwardedPort reads the answer to "info usernet".
func forwardedPort(text string) (int, error) {
	found := forwardLine.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("QEMU names no forwarded port in %q", text)
	}
	return strconv.Atoi(found[1])
}
