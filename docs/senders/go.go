// Sends an incident until it is stored or refused; Go's standard library alone.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

type Service struct {
	Identifier string  `json:"identifier"`
	Name       *string `json:"name,omitempty"`
}

// Without omitempty, nil is null: it clears what was stored. With it, nil is absent: it keeps it.
type Incident struct {
	ReferenceID string         `json:"reference_id"`
	Name        *string        `json:"name,omitempty"`
	Priority    *string        `json:"priority,omitempty"`
	SourceURL   *string        `json:"source_url,omitempty"`
	StartedAt   time.Time      `json:"started_at"`
	ResolvedAt  *time.Time     `json:"resolved_at"`
	Services    []Service      `json:"services,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
}

var client = http.Client{Timeout: time.Minute}

// send makes one attempt. retry says that another one may succeed, after the wait where it is not 0.
func send(body []byte) (action string, retry bool, wait time.Duration, err error) {
	request, err := http.NewRequest("POST", os.Getenv("INCIDENTS_URL")+"incidents.upsert", bytes.NewReader(body))
	if err != nil {
		return "", false, 0, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("INCIDENTS_TOKEN"))
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return "", true, 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", true, 0, err
	}
	var said struct {
		OK              bool
		Action, Message string
	}
	err = json.Unmarshal(text, &said)
	if err == nil && said.OK {
		return said.Action, false, 0, nil
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	retry = response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests ||
		response.StatusCode == http.StatusRequestTimeout
	return "", retry, time.Duration(seconds) * time.Second, fmt.Errorf("%s: %s", response.Status, text)
}

func Upsert(incident Incident) (string, error) {
	body, err := json.Marshal(incident)
	if err != nil {
		return "", err
	}
	for attempt := 0; ; attempt++ {
		action, retry, wait, err := send(body)
		if err == nil || !retry {
			return action, err
		}
		if attempt == 7 {
			return "", fmt.Errorf("not stored after 8 attempts: %w", err)
		}
		if wait == 0 {
			wait = time.Second << attempt
		}
		time.Sleep(wait)
	}
}

func main() {
	var incident Incident
	if err := json.NewDecoder(os.Stdin).Decode(&incident); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	action, err := Upsert(incident)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(action)
}
