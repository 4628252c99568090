// The least of an Invoke API in Go, with the standard library alone: main PORT.
//
// It routes, reads, parses, calls, serialises and responds. It has no ids, no log, no metrics and no errors of AWS, so
// an Invoke API in Go that has these serves fewer requests.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
)

var functions = map[string]func(event any) (any, error){
	"echo": func(event any) (any, error) { return event, nil },
}

func invoke(response http.ResponseWriter, request *http.Request) {
	function, found := functions[request.PathValue("name")]
	if !found {
		http.Error(response, "Function not found", http.StatusNotFound)
		return
	}
	payload, err := io.ReadAll(request.Body)
	var event any
	if err == nil {
		err = json.Unmarshal(payload, &event)
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	result, err := function(event)
	if err == nil {
		payload, err = json.Marshal(result)
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.Header().Set("Content-Length", strconv.Itoa(len(payload)))
	response.Write(payload)
}

func main() {
	http.HandleFunc("POST /2015-03-31/functions/{name}/invocations", invoke)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
