# Three targets are for everybody: `make demo` shows the main job, `make test` runs
# all tests, `make install` installs vgpuctl. All install what a Debian or Ubuntu
# machine lacks.

.PHONY: demo test install quick lint unit arrows integration lab-shell bench tidy clean

export GO := $(shell ./integration/setup.sh)
ifeq ($(GO),)
$(error no usable Go; see the line above)
endif

# The libvirt binding loads libvirt at run time: no headers are needed.
TAGS    := libvirt_dlopen
NESTED  := integration integration/compare $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
MODULES := . $(filter-out integration/compare,$(NESTED))
# How long the unit tests of a package may take, in seconds.
TIMEOUT := 1800
LAB     := $(GO) -C integration run ./cmd/lab

GOFUMPT     := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The kernel's sample display, then NVIDIA's two frameworks: an M60 whose GPU makes
# mediated devices, and an L40S whose virtual functions are the vGPUs.
demo: bin/demo
	$(LAB) run --again --boards 05:13f2,61:26b9:4 --push $(CURDIR)/bin/demo \
		--pull demo.png:$(CURDIR)/ --pull demo-m60.png:$(CURDIR)/ --pull demo-l40s.png:$(CURDIR)/ -- sh -ec '\
		/usr/lib/nvidia/sriov-manage -e ALL; \
		./demo; \
		./demo --machines 1 --type nvidia-22 --uuid 98d19132-f8f0-4d19-8743-9efa23e6c493 --picture demo-m60.png; \
		./demo --machines 1 --type "NVIDIA L40S-8Q" --picture demo-l40s.png'
	@echo "The pictures of the VMs' displays are demo.png, demo-m60.png and demo-l40s.png."

# The lab takes longest and keeps one processor busy; everything else has what is left.
test:
	@$(MAKE) -j2 quick integration || { echo "make test failed; without the lab's tests: make quick"; exit 1; }

quick:
	nice $(MAKE) lint arrows unit

lint:
	@unformatted=$$($(GOFUMPT) -l .); [ -z "$$unformatted" ] || { echo "not formatted by gofumpt:"; echo "$$unformatted"; exit 1; }
	@for m in . $(NESTED); do echo "lint $$m"; (cd $$m && $(GO) vet -tags '$(TAGS) integration' ./... && $(STATICCHECK) -tags '$(TAGS) integration' ./...) || exit 1; done

# Everything but domain/virt and Open is pure Go, arrows point down only, and other
# modules keep out of internal/.
arrows:
	$(GO) test -tags '$(TAGS)' -run 'TestArrows|TestWithout|TestNestedImports|TestModulesAlike' .

unit: export VGPUKIT_MDEVCTL := $(CURDIR)/bin/mdevctl
unit: bin/mdevctl
	@rm -f bin/unit.failed
	@for m in $(MODULES); do echo "test $$m"; (cd $$m && $(GO) test -race -timeout $(TIMEOUT)s -tags '$(TAGS)' ./...) || { touch bin/unit.failed; break; }; done | tee bin/unit.log
	@[ ! -e bin/unit.failed ]
	@echo "the slowest packages; on a quiet machine each should take less than a tenth of its $(TIMEOUT) s:"
	@awk '$$1 == "ok" && $$3+0 > 0 { print $$3, $$2 }' bin/unit.log | sort -rn | head -5
	@[ "$$VGPUKIT_QUIET" != 1 ] || awk '$$1 == "ok" && $$3+0 > $(TIMEOUT)/10 { print $$2 " takes too long"; bad = 1 } END { exit bad }' bin/unit.log

# On a real kernel, libvirtd and QEMU, in the lab.
integration: bin/integration.test
	$(LAB) run --again --boards 05:13f2,41:2235:32,61:26b9:32,81:20f1:mig,a1:2bb5:mig --timeout 60m --push $(CURDIR)/bin/integration.test -- ./integration.test -test.v -test.timeout 44m

lab-shell:
	$(LAB) shell

# The tool for the shell. DESTDIR is for those who make packages.
PREFIX  := /usr/local
DESTDIR :=
install: bin/vgpuctl
	install -D -m 755 bin/vgpuctl $(DESTDIR)$(PREFIX)/bin/vgpuctl

# The library alone, against its peers (as root), and in the lab, with libvirt as it
# is installed.
bench: export VGPUKIT_MDEVCTL := $(CURDIR)/bin/mdevctl
bench: bin/integration.bench bin/mdevctl
	$(GO) test -tags '$(TAGS)' -run '^$$' -bench . -benchmem ./...
	$(GO) -C integration/compare test -run '^$$' -bench . -benchtime 3x
	$(LAB) run --push $(CURDIR)/bin/integration.bench -- sh -ec '\
		rm /etc/libvirt/qemu.conf; systemctl restart libvirtd; \
		./integration.bench -test.run ^$$ -test.bench . -test.benchtime 20x'

bin/integration.test: FORCE
	$(GO) -C integration test -c -race -tags '$(TAGS) integration' -o $(CURDIR)/$@ .

bin/integration.bench: FORCE
	$(GO) -C integration test -c -tags '$(TAGS) integration' -o $(CURDIR)/$@ .

# mdevctl, unpacked and not installed, for what is simulated and mounted.
bin/mdevctl:
	rm -rf $@.deb && mkdir -p $@.deb
	cd $@.deb && { apt-get download -qq mdevctl >/dev/null 2>&1 || { apt-get update -qq; apt-get download -qq mdevctl >/dev/null; }; }
	dpkg-deb -x $@.deb/mdevctl_*.deb $@.deb
	cp $@.deb/usr/*bin/mdevctl $@
	rm -rf $@.deb

# The binding of NVIDIA's management library finds its functions when they are called, also where
# programs are hardened by default.
bin/%: FORCE
	$(GO) -C examples/$* build -tags '$(TAGS)' -ldflags=-extldflags=-Wl,-z,lazy -o $(CURDIR)/$@ .

FORCE:

# In each module by itself, as whoever installs it has it: with the release that it
# asks for put in place of what lies here.
tidy: export GOWORK := off
tidy: ROOT := github.com/vgpukit/vgpukit
tidy: REQUIRED := examples/nvml examples/vgpuctl
tidy:
	$(GO) mod tidy
	@mkdir -p bin
	@for m in $(NESTED); do echo "tidy $$m"; (cp $$m/go.mod bin/tidy.mod && cp $$m/go.sum bin/tidy.sum && \
		$(GO) mod edit -replace $(ROOT)=$(CURDIR) $(foreach m,$(REQUIRED),-replace $(ROOT)/$m=$(CURDIR)/$m) bin/tidy.mod && \
		$(GO) -C $$m mod tidy -modfile=$(CURDIR)/bin/tidy.mod && \
		$(GO) mod edit -dropreplace $(ROOT) $(REQUIRED:%=-dropreplace $(ROOT)/%) bin/tidy.mod && \
		mv bin/tidy.mod $$m/go.mod && mv bin/tidy.sum $$m/go.sum) || exit 1; done

clean:
	rm -rf bin demo*.png
	$(LAB) clean
