// Rooms over the centrifuge library, the engine of Centrifugo: what a client publishes to a channel goes to all
// in it. With -history, whoever comes back is given what it missed; with -redis, Redis keeps that, and carries
// what is published between several of these.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/golang-jwt/jwt/v5"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address")
	secret := flag.String("secret", "", "HS256 secret of the tokens")
	history := flag.Bool("history", false, "keep what was published, and recover")
	redis := flag.String("redis", "", "address of a Redis")
	flag.Parse()

	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if *redis != "" {
		shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: *redis})
		if err != nil {
			log.Fatal(err)
		}
		broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{
			Shards: []*centrifuge.RedisShard{shard},
		})
		if err != nil {
			log.Fatal(err)
		}
		node.SetBroker(broker)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}))
	key := func(*jwt.Token) (any, error) { return []byte(*secret), nil }

	node.OnConnecting(func(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		claims := jwt.RegisteredClaims{}
		if _, err := parser.ParseWithClaims(event.Token, &claims, key); err != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: claims.Subject}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			options := centrifuge.SubscribeOptions{EnableRecovery: *history, EnablePositioning: *history}
			done(centrifuge.SubscribeReply{Options: options}, nil)
		})
		client.OnPublish(func(event centrifuge.PublishEvent, done centrifuge.PublishCallback) {
			var options []centrifuge.PublishOption
			if *history {
				options = append(options, centrifuge.WithHistory(1000, 10*time.Minute))
			}
			result, err := node.Publish(event.Channel, event.Data, options...)
			done(centrifuge.PublishReply{Result: &result}, err)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
	}))
	if err := http.ListenAndServe(*listen, nil); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
