// Renders a payload template of Grafana's, which are Go's, with the alert of standard input and the function that Grafana adds.
//
//	go run senders.go FILE
package main

import (
	"encoding/json"
	"log"
	"os"
	"text/template"
	"time"
)

type alert struct {
	Labels, Annotations       map[string]string
	StartsAt, EndsAt          time.Time
	GeneratorURL, Fingerprint string
}

type functions struct{}

func (functions) ToJSON(in any) (string, error) {
	text, err := json.Marshal(in)
	return string(text), err
}

func main() {
	var one alert
	if err := json.NewDecoder(os.Stdin).Decode(&one); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	added := template.FuncMap{"data": func() functions { return functions{} }}
	whole := map[string]any{"Alerts": []alert{one}, "Status": "firing"}
	if err := template.Must(template.New("").Funcs(added).Parse(string(text))).Execute(os.Stdout, whole); err != nil {
		log.Fatal(err)
	}
}
