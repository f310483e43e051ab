// POST /api/incidents.upsert with net/http and pgx: a peer to measure incidents.fcgi against.
// Listens on 127.0.0.1:$PORT; the database comes from the PG* variables.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

const (
	connections    = 16
	bodyMax        = 1 << 20
	identifierMax  = 1024
	servicesMax    = 1000
	requestTimeout = 10 * time.Second
)

// refusal is an answer other than 200.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, code, format string, args ...any) error {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return refuse(http.StatusUnprocessableEntity, "invalid_arguments", format, args...)
}

// refusalOf says how to answer an error, whatever it is.
func refusalOf(err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	var database *pgconn.PgError
	if errors.As(err, &database) {
		switch class := database.Code[:2]; {
		case database.Code == "22P05": // \u0000 in jsonb
			return &refusal{http.StatusUnprocessableEntity, "metadata_invalid", "metadata holds a value that cannot be kept"}
		case database.Code == "22021" || database.Code == "23514":
			return &refusal{http.StatusUnprocessableEntity, "invalid_arguments", "an argument cannot be kept"}
		case class == "22":
			return &refusal{http.StatusUnprocessableEntity, "invalid_timestamp", "a timestamp is out of range"}
		case strings.Contains("08 40 53 55 57", class):
			return &refusal{http.StatusServiceUnavailable, "service_unavailable", "the database cannot store at present"}
		}
		return &refusal{http.StatusInternalServerError, "internal_error", "an internal error"}
	}
	return &refusal{http.StatusServiceUnavailable, "service_unavailable", "the database cannot be reached"}
}

// ---- The token ----

const findToken = `SELECT token_id, 'upsert' = ANY (scopes), last_used_at IS NULL OR last_used_at < now() - interval '1 minute'
	FROM intake.api_token
	WHERE token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`

const touchToken = `UPDATE intake.api_token SET last_used_at = now()
	WHERE token_id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`

func authorize(ctx context.Context, pool *pgxpool.Pool, header string) error {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return refuse(http.StatusUnauthorized, "not_authed", "a bearer token is needed")
	}
	var id int32
	var isPermitted, isStale bool
	hash := sha256.Sum256([]byte(token))
	err := pool.QueryRow(ctx, findToken, hash[:]).Scan(&id, &isPermitted, &isStale)
	if errors.Is(err, pgx.ErrNoRows) {
		return refuse(http.StatusUnauthorized, "not_authed", "the token is not valid")
	}
	if err == nil && !isPermitted {
		return refuse(http.StatusForbidden, "not_permitted", "the token lacks the scope upsert")
	}
	if err == nil && isStale {
		_, err = pool.Exec(ctx, touchToken, id)
	}
	return err
}

// ---- The body ----

// incident holds what a body says: values[n] belongs to optional[n], and counts where given has bit n.
type incident struct {
	referenceID string
	startedAt   time.Time
	given       int
	values      [len(optional)]any
}

// The arguments that may be absent, which keeps what is stored.
var optional = [...]struct {
	column string
	read   func(name string, raw json.RawMessage) (any, error)
}{
	{"name", readText},
	{"priority", readText},
	{"source_url", readText},
	{"services", readServices},
	{"resolved_at", readTimestamp},
	{"metadata", readMetadata},
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

func readText(name string, raw json.RawMessage) (any, error) {
	var text *string
	if json.Unmarshal(raw, &text) != nil {
		return nil, invalid("%s must be a string or null", name)
	}
	return text, nil
}

func checkIdentifier(name, text string) error {
	if strings.TrimSpace(text) == "" || len(text) > identifierMax {
		return invalid("%s must be a non-empty string of at most %d bytes", name, identifierMax)
	}
	return nil
}

var layouts = []string{
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02",
}

func readTimestamp(name string, raw json.RawMessage) (any, error) {
	if isNull(raw) {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if len(text) > 10 && text[10] == ' ' {
			text = text[:10] + "T" + text[11:]
		}
		for _, layout := range layouts {
			if moment, err := time.Parse(layout, text); err == nil {
				return moment, nil
			}
		}
	}
	return nil, refuse(http.StatusUnprocessableEntity, "invalid_timestamp", "%s must be an ISO-8601 timestamp", name)
}

// readServices makes pairs of identifier and name, each identifier once; the later name wins.
func readServices(name string, raw json.RawMessage) (any, error) {
	var services []struct {
		Identifier string  `json:"identifier"`
		Name       *string `json:"name"`
	}
	if json.Unmarshal(raw, &services) != nil || len(services) > servicesMax {
		return nil, invalid("%s must be an array of at most %d objects", name, servicesMax)
	}
	links := make([][2]*string, 0, len(services))
	places := make(map[string]int, len(services))
	for n := range services {
		service := &services[n]
		if err := checkIdentifier(fmt.Sprintf("%s[%d].identifier", name, n), service.Identifier); err != nil {
			return nil, err
		}
		place, isKnown := places[service.Identifier]
		if !isKnown {
			place = len(links)
			places[service.Identifier] = place
			links = append(links, [2]*string{&service.Identifier, nil})
		}
		links[place][1] = service.Name
	}
	if len(links) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(links)
	return string(text), err
}

func isKey(text string) bool {
	for _, c := range []byte(text) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return text != ""
}

// areKeysGood looks at the keys at every depth of a valid JSON value.
func areKeysGood(raw json.RawMessage) bool {
	type level struct{ isObject, isBehindKey bool }
	var levels []level
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].isObject {
			if levels[n-1].isBehindKey = !levels[n-1].isBehindKey; levels[n-1].isBehindKey {
				if !isKey(token.(string)) {
					return false
				}
				continue
			}
		}
		if delim, ok := token.(json.Delim); ok {
			levels = append(levels, level{isObject: delim == '{'})
		}
	}
}

// readMetadata hands the object on as it came, so that every digit is kept.
func readMetadata(name string, raw json.RawMessage) (any, error) {
	switch raw[0] {
	case 'n':
		return nil, nil
	case '[', '{':
		if len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0 {
			return nil, nil
		}
	}
	if raw[0] != '{' || !areKeysGood(raw) {
		return nil, refuse(http.StatusUnprocessableEntity, "metadata_invalid",
			"%s must be an object whose keys match [A-Za-z0-9_-]+", name)
	}
	return string(raw), nil
}

func readIncident(body []byte) (*incident, error) {
	var arguments map[string]json.RawMessage
	var syntax *json.SyntaxError
	err := json.Unmarshal(body, &arguments)
	if errors.As(err, &syntax) || !utf8.Valid(body) {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_json", "the body is not valid JSON")
	}
	if err != nil || arguments == nil {
		return nil, invalid("the body must be an object")
	}
	read := new(incident)
	if raw, ok := arguments["reference_id"]; !ok || json.Unmarshal(raw, &read.referenceID) != nil {
		return nil, invalid("reference_id must be a string")
	}
	if err := checkIdentifier("reference_id", read.referenceID); err != nil {
		return nil, err
	}
	if isNull(arguments["started_at"]) {
		return nil, invalid("started_at is required")
	}
	startedAt, err := readTimestamp("started_at", arguments["started_at"])
	if err != nil {
		return nil, err
	}
	read.startedAt = startedAt.(time.Time)
	for n, argument := range optional {
		raw, ok := arguments[argument.column]
		if !ok {
			continue
		}
		if read.values[n], err = argument.read(argument.column, raw); err != nil {
			return nil, err
		}
		read.given |= 1 << n
	}
	return read, nil
}

// ---- The database ----

// One statement for each set of arguments that may be given; pgx prepares it once for each connection.
var upserts = func() (statements [1 << len(optional)]string) {
	for given := range statements {
		columns := []string{"started_at"}
		for n, argument := range optional {
			if given&(1<<n) != 0 {
				columns = append(columns, argument.column)
			}
		}
		var places, changes, stored, sent []string
		for n, column := range columns {
			places = append(places, fmt.Sprintf("$%d", n+2))
			changes = append(changes, column+" = excluded."+column)
			stored = append(stored, "i."+column)
			sent = append(sent, "excluded."+column)
		}
		list := func(items []string) string { return strings.Join(items, ", ") }
		statements[given] = fmt.Sprintf(`INSERT INTO intake.incident AS i (reference_id, %s, created_at, updated_at)
			VALUES ($1, %s, now(), now())
			ON CONFLICT (reference_id) DO UPDATE SET %s, updated_at = now() WHERE (%s) IS DISTINCT FROM (%s)
			RETURNING i.xmax = 0`, list(columns), list(places), list(changes), list(stored), list(sent))
	}
	return statements
}()

func upsert(ctx context.Context, pool *pgxpool.Pool, incident *incident) (action string, err error) {
	arguments := []any{incident.referenceID, incident.startedAt}
	for n, value := range incident.values {
		if incident.given&(1<<n) != 0 {
			arguments = append(arguments, value)
		}
	}
	err = pool.BeginFunc(ctx, func(tx pgx.Tx) error {
		var isCreated bool
		err := tx.QueryRow(ctx, upserts[incident.given], arguments...).Scan(&isCreated)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			action = "unchanged"
			return nil
		case isCreated:
			action = "created"
		default:
			action = "updated"
		}
		return err
	})
	return action, err
}

// ---- HTTP ----

type answer struct {
	OK          bool   `json:"ok"`
	Action      string `json:"action,omitempty"`
	ReferenceID string `json:"reference_id,omitempty"`
	Error       string `json:"error,omitempty"`
	Message     string `json:"message,omitempty"`
}

func serve(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool) (*answer, error) {
	if r.URL.Path != "/api/incidents.upsert" {
		return nil, refuse(http.StatusNotFound, "unknown_method", "there is no such method")
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "use POST")
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	if err := authorize(ctx, pool, r.Header.Get("Authorization")); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	if err != nil {
		return nil, refuse(http.StatusRequestEntityTooLarge, "request_too_large", "the body is over the size limit")
	}
	incident, err := readIncident(body)
	if err != nil {
		return nil, err
	}
	action, err := upsert(ctx, pool, incident)
	return &answer{OK: true, Action: action, ReferenceID: incident.referenceID}, err
}

func handler(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		status := http.StatusOK
		content, err := serve(w, r, pool)
		if err != nil {
			refusal := refusalOf(err)
			status = refusal.status
			content = &answer{Error: refusal.code, Message: refusal.message}
			switch status {
			case http.StatusUnauthorized:
				w.Header().Set("WWW-Authenticate", "Bearer")
			case http.StatusServiceUnavailable:
				w.Header().Set("Retry-After", "2")
			}
			if status >= http.StatusInternalServerError {
				log.Printf("error: %v", err)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(content); err != nil {
			log.Printf("unable to answer: %v", err)
		}
		log.Printf("%s %s %s %d %v", r.RemoteAddr, r.Method, r.URL.Path, status, time.Since(began))
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return err
	}
	config.MaxConns = connections
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	server := &http.Server{
		Addr:              "127.0.0.1:" + os.Getenv("PORT"),
		Handler:           handler(pool),
		ReadHeaderTimeout: requestTimeout,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		timeout, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		stopped <- server.Shutdown(timeout)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
